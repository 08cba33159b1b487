using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Grpc.Common;
using Grpc.Core;

namespace Grpc.Net.Client;

/// <summary>The status of a response, whole or broken.</summary>
internal static class FailureStatus
{
    /// <summary>The status that the response's headers decide; null where messages and trailers follow.</summary>
    public static Status? OfHeaders(HttpResponseMessage response)
    {
        if (response.StatusCode != HttpStatusCode.OK)
        {
            return Of(response.Headers) ??
                new Status(OfHttp(response.StatusCode), $"The server answered with HTTP status {(int)response.StatusCode}, not with gRPC.");
        }

        var contentType = response.Content.Headers.ContentType?.ToString();
        return !Wire.IsGrpc(contentType)
            ? new Status(StatusCode.Unknown, $"The server answered with content type '{contentType}', not with gRPC.")
            : Of(response.Headers);
    }

    /// <summary>The status and metadata of a response whose body was read to the end.</summary>
    public static (Status Status, Metadata Trailers) OfTrailers(HttpResponseMessage response) =>
        (Of(response.TrailingHeaders) ?? new Status(StatusCode.Unknown, "The server ended the call without a grpc-status."),
         ReadMetadata(response.TrailingHeaders));

    /// <summary>The status of a call that a local or network failure ended.</summary>
    public static Status Of(Exception exception)
    {
        for (var cause = exception; cause is not null; cause = cause.InnerException)
        {
            switch (cause)
            {
                case RpcException rpc:
                    return rpc.Status;
                // SocketsHttpHandler reports an unanswered ping as a protocol error of its own; only the message tells it apart.
                case HttpProtocolException ping when ping.Message.Contains(nameof(SocketsHttpHandler.KeepAlivePingDelay), StringComparison.Ordinal):
                    return new Status(StatusCode.Unavailable, $"The connection is dead: {ping.Message}", exception);
                case HttpProtocolException protocol:
                    return new Status(OfHttp2(protocol.ErrorCode), $"The stream was reset: {protocol.Message}", exception);
                case SocketException or HttpIOException:
                    return new Status(StatusCode.Unavailable, $"The connection failed: {cause.Message}", exception);
            }
        }

        return exception switch
        {
            OperationCanceledException => new Status(StatusCode.Cancelled, "The call was cancelled.", exception),
            HttpRequestException or IOException => new Status(StatusCode.Unavailable, $"The connection failed: {exception.Message}", exception),
            _ => new Status(StatusCode.Internal, $"The call could not be made: {exception.Message}", exception),
        };
    }

    public static Metadata ReadMetadata(HttpHeaders headers)
    {
        var metadata = new Metadata();
        foreach (var (name, values) in headers.NonValidated)
        {
            if (!Wire.IsReserved(name))
            {
                foreach (var value in values)
                {
                    Wire.AddReceived(metadata, name, value);
                }
            }
        }

        return metadata;
    }

    private static Status? Of(HttpHeaders headers)
    {
        if (!headers.NonValidated.TryGetValues(Wire.StatusHeader, out var values))
        {
            return null;
        }

        var message = headers.NonValidated.TryGetValues(Wire.MessageHeader, out var encoded) ? Wire.DecodeMessage(encoded.ToString()) : "";
        return int.TryParse(values.ToString(), NumberStyles.None, CultureInfo.InvariantCulture, out var code)
            ? new Status(Enum.IsDefined((StatusCode)code) ? (StatusCode)code : StatusCode.Unknown, message)
            : new Status(StatusCode.Unknown, $"The server sent the grpc-status '{values}', which is not a number.");
    }

    private static StatusCode OfHttp(HttpStatusCode code) => (int)code switch
    {
        400 or 431 => StatusCode.Internal,
        401 => StatusCode.Unauthenticated,
        403 => StatusCode.PermissionDenied,
        404 => StatusCode.Unimplemented,
        429 or 502 or 503 or 504 => StatusCode.Unavailable,
        _ => StatusCode.Unknown,
    };

    // The specification's table of HTTP/2 error codes.
    private static StatusCode OfHttp2(long errorCode) => errorCode switch
    {
        0x7 => StatusCode.Unavailable,
        0x8 => StatusCode.Cancelled,
        0xb => StatusCode.ResourceExhausted,
        0xc => StatusCode.PermissionDenied,
        _ => StatusCode.Internal,
    };
}
