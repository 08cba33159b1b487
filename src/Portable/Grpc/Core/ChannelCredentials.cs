namespace Grpc.Core;

/// <summary>Whether a channel speaks TLS.</summary>
public abstract class ChannelCredentials
{
    private protected ChannelCredentials()
    {
    }

    /// <summary>Plain HTTP/2.</summary>
    public static ChannelCredentials Insecure { get; } = new Plain();

    /// <summary>HTTP/2 over TLS with the system's roots.</summary>
    public static ChannelCredentials SecureSsl { get; } = new Tls();

    internal abstract string Scheme { get; }

    private sealed class Plain : ChannelCredentials
    {
        internal override string Scheme => Uri.UriSchemeHttp;
    }

    private sealed class Tls : ChannelCredentials
    {
        internal override string Scheme => Uri.UriSchemeHttps;
    }
}
