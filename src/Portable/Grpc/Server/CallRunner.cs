using System.Globalization;
using Grpc.Common;
using Grpc.Core;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.Extensions.Logging;

namespace Grpc.AspNetCore.Server;

/// <summary>Serves one call: checks its request, runs its handler, and ends it with a status whatever happens.</summary>
internal sealed partial class CallRunner(GrpcServiceOptions options, ILogger logger)
{
    public async Task RunAsync<TRequest, TResponse>(
        HttpContext http, Method<TRequest, TResponse> method, Func<ServerStreams<TRequest, TResponse>, Task> handle)
        where TRequest : class
        where TResponse : class
    {
        if (!await CheckProtocolAsync(http).ConfigureAwait(false))
        {
            return;
        }

        // Streams live long and may be slow: the limits that protect short requests do not apply to them.
        if (http.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } readRate)
        {
            readRate.MinDataRate = null;
        }

        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } bodySize)
        {
            bodySize.MaxRequestBodySize = null;
        }

        http.Response.ContentType = Wire.ContentType;
        using var context = new HttpServerCallContext(http, method.FullName);
        try
        {
            context.Start();
            await handle(new ServerStreams<TRequest, TResponse>(http, method, context, options)).ConfigureAwait(false);
        }
        catch (Exception exception)
        {
            context.Status = StatusOf(exception, context);
        }

        await context.EndAsync().ConfigureAwait(false);
    }

    /// <summary>Ends a call that has no handler.</summary>
    public static async Task EndAtOnceAsync(HttpContext http, Status status)
    {
        if (await CheckProtocolAsync(http).ConfigureAwait(false))
        {
            http.Response.ContentType = Wire.ContentType;
            WriteStatus(http.Response.Headers, status);
        }
    }

    /// <summary>Puts a status among headers or trailers.</summary>
    public static void WriteStatus(IHeaderDictionary destination, Status status)
    {
        destination[Wire.StatusHeader] = ((int)status.StatusCode).ToString(CultureInfo.InvariantCulture);
        if (!string.IsNullOrEmpty(status.Detail))
        {
            destination[Wire.MessageHeader] = Wire.EncodeMessage(status.Detail);
        }
    }

    /// <summary>Puts metadata among headers or trailers.</summary>
    public static void WriteMetadata(IHeaderDictionary destination, Metadata metadata)
    {
        foreach (var entry in metadata)
        {
            if (!Wire.IsReserved(entry.Key))
            {
                destination.Append(entry.Key, Wire.EncodeValue(entry));
            }
        }
    }

    private static async Task<bool> CheckProtocolAsync(HttpContext http)
    {
        if (!HttpProtocol.IsHttp2(http.Request.Protocol) && !HttpProtocol.IsHttp3(http.Request.Protocol))
        {
            http.Response.StatusCode = StatusCodes.Status426UpgradeRequired;
            http.Response.Headers.Upgrade = "h2c";
            await http.Response.WriteAsync("gRPC needs HTTP/2.").ConfigureAwait(false);
            return false;
        }

        if (!Wire.IsGrpc(http.Request.ContentType))
        {
            http.Response.StatusCode = StatusCodes.Status415UnsupportedMediaType;
            await http.Response.WriteAsync("gRPC needs the content type application/grpc.").ConfigureAwait(false);
            return false;
        }

        return true;
    }

    private Status StatusOf(Exception exception, HttpServerCallContext context)
    {
        if (exception is RpcException rpc)
        {
            foreach (var trailer in rpc.Trailers)
            {
                context.ResponseTrailers.Add(trailer);
            }

            return rpc.Status;
        }

        if (context.CancellationToken.IsCancellationRequested)
        {
            return new Status(StatusCode.Cancelled, "The call was cancelled.");
        }

        LogHandlerFailed(context.Method, exception);
        var detail = "Exception was thrown by handler.";
        return new Status(
            StatusCode.Unknown, options.EnableDetailedErrors == true ? $"{detail} {exception.GetType().Name}: {exception.Message}" : detail);
    }

    [LoggerMessage(LogLevel.Error, "{Method} failed in its handler.")]
    private partial void LogHandlerFailed(string method, Exception exception);
}
