using System.Diagnostics.CodeAnalysis;

namespace Grpc.Core;

/// <summary>Outcome of a call: its code and a message for people.</summary>
[SuppressMessage("Performance", "CA1815", Justification = "The official Status has no equality of its own either.")]
public struct Status(StatusCode statusCode, string detail, Exception? debugException)
{
    /// <summary>Success without a message.</summary>
    public static readonly Status DefaultSuccess = new(StatusCode.OK, "");

    /// <summary>Cancelled without a message.</summary>
    public static readonly Status DefaultCancelled = new(StatusCode.Cancelled, "");

    public Status(StatusCode statusCode, string detail)
        : this(statusCode, detail, null)
    {
    }

    public StatusCode StatusCode { get; } = statusCode;

    /// <summary>The message; it crosses the wire.</summary>
    public string Detail { get; } = detail;

    /// <summary>The local cause, if any; it never crosses the wire.</summary>
    public Exception? DebugException { get; } = debugException;

    public override readonly string ToString() =>
        DebugException is null
            ? $"Status(StatusCode=\"{StatusCode}\", Detail=\"{Detail}\")"
            : $"Status(StatusCode=\"{StatusCode}\", Detail=\"{Detail}\", DebugException=\"{DebugException.GetType()}: {DebugException.Message}\")";
}
