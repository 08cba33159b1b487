using Grpc.AspNetCore.Server;
using Grpc.Core;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Microsoft.AspNetCore.Builder;

public static class GrpcEndpointRouteBuilderExtensions
{
    /// <summary>Routes the calls of a service, a class derived from a generated base, to it.</summary>
    public static GrpcServiceEndpointConventionBuilder MapGrpcService<TService>(this IEndpointRouteBuilder builder)
        where TService : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        var marker = builder.ServiceProvider.GetService<GrpcServicesExtensions.GrpcMarker>() ??
            throw new InvalidOperationException("MapGrpcService needs the gRPC services: call services.AddGrpc() before the application is built.");
        var options = builder.ServiceProvider.GetRequiredService<IOptions<GrpcServiceOptions>>().Value;
        var logger = builder.ServiceProvider.GetRequiredService<ILoggerFactory>().CreateLogger($"Grpc.AspNetCore.Server.{typeof(TService).Name}");
        var binder = new ServiceMethodBinder<TService>(new CallRunner(options, logger));
        BindMethods<TService>(binder);

        var endpoints = new List<IEndpointConventionBuilder>();
        foreach (var (method, handle) in binder.Handlers)
        {
            endpoints.Add(builder.MapPost(method.FullName, handle).WithDisplayName($"gRPC - {method.FullName}"));
        }

        foreach (var service in binder.Handlers.Select(bound => bound.Method.ServiceName).Distinct())
        {
            endpoints.Add(Unimplemented(builder, $"{service}/{{unimplementedMethod}}", "method"));
        }

        if (marker.TakeUnknownServices())
        {
            endpoints.Add(Unimplemented(builder, "{unimplementedService}/{unimplementedMethod}", "service"));
        }

        return new GrpcServiceEndpointConventionBuilder(endpoints);
    }

    private static void BindMethods<TService>(ServiceBinderBase binder)
    {
        var attribute = (BindServiceMethodAttribute?)Attribute.GetCustomAttribute(typeof(TService), typeof(BindServiceMethodAttribute), inherit: true);
        var bind = attribute?.BindType.GetMethods()
            .SingleOrDefault(method => method.Name == attribute.BindMethodName &&
                method.GetParameters() is [var first, var second] && first.ParameterType == typeof(ServiceBinderBase) &&
                second.ParameterType.IsAssignableFrom(typeof(TService)));
        if (bind is null)
        {
            throw new InvalidOperationException(
                $"{typeof(TService).Name} is not a gRPC service: derive it from the base class that Grpc.Tools generates for the service.");
        }

        bind.Invoke(null, [binder, null]);
    }

    private static IEndpointConventionBuilder Unimplemented(IEndpointRouteBuilder builder, string pattern, string what)
    {
        var endpoint = builder.MapPost(pattern, context =>
            CallRunner.EndAtOnceAsync(context, new Status(StatusCode.Unimplemented, $"The server has no {what} '{context.Request.Path}'.")));
        endpoint.Add(static route => ((RouteEndpointBuilder)route).Order = 1);
        return endpoint;
    }
}

/// <summary>Applies conventions to every method of a service.</summary>
public sealed class GrpcServiceEndpointConventionBuilder : IEndpointConventionBuilder
{
    private readonly IReadOnlyList<IEndpointConventionBuilder> _endpoints;

    internal GrpcServiceEndpointConventionBuilder(IReadOnlyList<IEndpointConventionBuilder> endpoints) => _endpoints = endpoints;

    public void Add(Action<EndpointBuilder> convention)
    {
        foreach (var endpoint in _endpoints)
        {
            endpoint.Add(convention);
        }
    }
}
