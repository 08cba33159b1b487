using Grpc.Core;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Grpc.AspNetCore.Server;

/// <summary>
/// Collects a service's methods. The generated code passes no handler: a method of the same name is called on an instance that
/// the request's services give, one per call unless the service is registered otherwise.
/// </summary>
internal sealed class ServiceMethodBinder<TService>(CallRunner runner) : ServiceBinderBase
    where TService : class
{
    private static readonly ObjectFactory Factory = ActivatorUtilities.CreateFactory(typeof(TService), Type.EmptyTypes);

    public List<(IMethod Method, RequestDelegate Handle)> Handlers { get; } = [];

    public override void AddMethod<TRequest, TResponse>(Method<TRequest, TResponse> method, UnaryServerMethod<TRequest, TResponse>? handler)
    {
        var call = Bind<Func<TService, TRequest, ServerCallContext, Task<TResponse>>>(method, typeof(TRequest), typeof(ServerCallContext));
        Handlers.Add((method, http => runner.RunAsync(http, method, async streams =>
        {
            var request = await streams.ReadOnlyRequestAsync().ConfigureAwait(false);
            await WithServiceAsync(http, async service =>
                await streams.WriteOnlyResponseAsync(await call(service, request, streams.Context).ConfigureAwait(false)).ConfigureAwait(false))
                .ConfigureAwait(false);
        })));
    }

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ClientStreamingServerMethod<TRequest, TResponse>? handler)
    {
        var call = Bind<Func<TService, IAsyncStreamReader<TRequest>, ServerCallContext, Task<TResponse>>>(
            method, typeof(IAsyncStreamReader<TRequest>), typeof(ServerCallContext));
        Handlers.Add((method, http => runner.RunAsync(http, method, streams => WithServiceAsync(http, async service =>
            await streams.WriteOnlyResponseAsync(await call(service, streams, streams.Context).ConfigureAwait(false)).ConfigureAwait(false)))));
    }

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ServerStreamingServerMethod<TRequest, TResponse>? handler)
    {
        var call = Bind<Func<TService, TRequest, IServerStreamWriter<TResponse>, ServerCallContext, Task>>(
            method, typeof(TRequest), typeof(IServerStreamWriter<TResponse>), typeof(ServerCallContext));
        Handlers.Add((method, http => runner.RunAsync(http, method, async streams =>
        {
            var request = await streams.ReadOnlyRequestAsync().ConfigureAwait(false);
            await WithServiceAsync(http, service => call(service, request, streams, streams.Context)).ConfigureAwait(false);
        })));
    }

    public override void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, DuplexStreamingServerMethod<TRequest, TResponse>? handler)
    {
        var call = Bind<Func<TService, IAsyncStreamReader<TRequest>, IServerStreamWriter<TResponse>, ServerCallContext, Task>>(
            method, typeof(IAsyncStreamReader<TRequest>), typeof(IServerStreamWriter<TResponse>), typeof(ServerCallContext));
        Handlers.Add((method, http => runner.RunAsync(http, method, streams =>
            WithServiceAsync(http, service => call(service, streams, streams, streams.Context)))));
    }

    private static TDelegate Bind<TDelegate>(IMethod method, params Type[] parameters)
        where TDelegate : Delegate
    {
        var found = typeof(TService).GetMethod(method.Name, parameters) ??
            throw new InvalidOperationException(
                $"{typeof(TService).Name} has no public method {method.Name}({string.Join(", ", parameters.Select(type => type.Name))}) for {method.FullName}.");

        // The official server finds handlers through the type that binds them, and only where they are virtual, as generated ones are.
        return found.IsVirtual
            ? found.CreateDelegate<TDelegate>()
            : throw new InvalidOperationException(
                $"{typeof(TService).Name}.{method.Name} is not virtual: declare it in a base class that carries [BindServiceMethod], as generated code does.");
    }

    private static async Task WithServiceAsync(HttpContext http, Func<TService, Task> use)
    {
        if (http.RequestServices.GetService<TService>() is { } registered)
        {
            await use(registered).ConfigureAwait(false);
            return;
        }

        var service = (TService)Factory(http.RequestServices, null);
        try
        {
            await use(service).ConfigureAwait(false);
        }
        finally
        {
            switch (service)
            {
                case IAsyncDisposable disposable:
                    await disposable.DisposeAsync().ConfigureAwait(false);
                    break;
                case IDisposable disposable:
                    disposable.Dispose();
                    break;
            }
        }
    }
}
