using System.Buffers.Text;
using System.Globalization;
using System.Text;
using Grpc.Core;

namespace Grpc.Common;

/// <summary>The protocol's names and text forms. Source: the gRPC over HTTP/2 specification, PROTOCOL-HTTP2.md.</summary>
internal static class Wire
{
    public const string ContentType = "application/grpc";
    public const string StatusHeader = "grpc-status";
    public const string MessageHeader = "grpc-message";
    public const string TimeoutHeader = "grpc-timeout";
    public const string EncodingHeader = "grpc-encoding";
    public const string AcceptEncodingHeader = "grpc-accept-encoding";
    public const string Identity = "identity";

    /// <summary>A message is a flag byte, its length as four bytes (big endian), and its bytes.</summary>
    public const int PrefixBytes = 5;

    /// <summary>What a peer may send unless the options say otherwise.</summary>
    public const int DefaultMaxReceiveBytes = 4 * 1024 * 1024;

    private const long MaxTimeoutDigits = 99_999_999;

    /// <summary>Whether this content type is gRPC's, with any message format.</summary>
    public static bool IsGrpc(string? contentType) =>
        contentType is not null && contentType.StartsWith(ContentType, StringComparison.OrdinalIgnoreCase) &&
        (contentType.Length == ContentType.Length || contentType[ContentType.Length] is '+' or ';');

    /// <summary>Percent-encodes a status message: the wire carries printable ASCII only.</summary>
    public static string EncodeMessage(string text)
    {
        if (text.All(IsPlain))
        {
            return text;
        }

        var encoded = new StringBuilder();
        foreach (var octet in Encoding.UTF8.GetBytes(text))
        {
            if (IsPlain((char)octet))
            {
                encoded.Append((char)octet);
            }
            else
            {
                encoded.Append('%').Append(octet.ToString("X2", CultureInfo.InvariantCulture));
            }
        }

        return encoded.ToString();

        static bool IsPlain(char c) => c is >= ' ' and <= '~' and not '%';
    }

    /// <summary>The inverse of <see cref="EncodeMessage"/>; broken escapes stay as they are.</summary>
    public static string DecodeMessage(string encoded)
    {
        if (!encoded.Contains('%', StringComparison.Ordinal))
        {
            return encoded;
        }

        var octets = new List<byte>(encoded.Length);
        for (var i = 0; i < encoded.Length; i++)
        {
            if (encoded[i] == '%' && i + 2 < encoded.Length &&
                byte.TryParse(encoded.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var octet))
            {
                octets.Add(octet);
                i += 2;
            }
            else
            {
                octets.AddRange(Encoding.UTF8.GetBytes(encoded, i, 1));
            }
        }

        return Encoding.UTF8.GetString([.. octets]);
    }

    /// <summary>The span as at most eight digits and a unit, rounded up.</summary>
    public static string EncodeTimeout(TimeSpan timeout)
    {
        foreach (var (unit, ticks) in new[]
        {
            ('u', TimeSpan.TicksPerMicrosecond), ('m', TimeSpan.TicksPerMillisecond), ('S', TimeSpan.TicksPerSecond),
            ('M', TimeSpan.TicksPerMinute),
        })
        {
            var amount = (timeout.Ticks / ticks) + (timeout.Ticks % ticks > 0 ? 1 : 0);
            if (amount <= MaxTimeoutDigits)
            {
                return string.Create(CultureInfo.InvariantCulture, $"{Math.Max(amount, 1)}{unit}");
            }
        }

        return string.Create(CultureInfo.InvariantCulture, $"{(timeout.Ticks / TimeSpan.TicksPerHour) + 1}H");
    }

    /// <summary>Parses a timeout; false where the text is not one.</summary>
    public static bool TryDecodeTimeout(string text, out TimeSpan timeout)
    {
        timeout = default;
        if (text.Length is < 2 or > 9 ||
            !long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var amount))
        {
            return false;
        }

        var ticks = text[^1] switch
        {
            'n' => amount / 100,
            'u' => amount * TimeSpan.TicksPerMicrosecond,
            'm' => amount * TimeSpan.TicksPerMillisecond,
            'S' => amount * TimeSpan.TicksPerSecond,
            'M' => amount * TimeSpan.TicksPerMinute,
            'H' => amount * TimeSpan.TicksPerHour,
            _ => -1,
        };
        timeout = TimeSpan.FromTicks(Math.Max(ticks, 0));
        return ticks >= 0;
    }

    /// <summary>The text of an entry on the wire: bytes go as base64.</summary>
    public static string EncodeValue(Metadata.Entry entry) => entry.IsBinary ? Convert.ToBase64String(entry.ValueBytes) : entry.Value;

    /// <summary>Adds a received header to the metadata. Binary values may come without padding, and several in one header.</summary>
    public static void AddReceived(Metadata metadata, string name, string value)
    {
        if (!name.EndsWith(Metadata.BinaryHeaderSuffix, StringComparison.OrdinalIgnoreCase))
        {
            metadata.Add(name, value);
            return;
        }

        foreach (var part in value.Split(',', StringSplitOptions.TrimEntries))
        {
            metadata.Add(name, DecodeBase64(part));
        }
    }

    /// <summary>Whether a header is the protocol's own, not the application's.</summary>
    public static bool IsReserved(string name) =>
        name.StartsWith(':') || name.StartsWith("grpc-", StringComparison.OrdinalIgnoreCase) ||
        name.ToLowerInvariant() is "content-type" or "te" or "content-length" or "content-encoding" or "host" or "connection"
            or "transfer-encoding";

    private static byte[] DecodeBase64(string text)
    {
        var padded = (text.Length % 4) switch { 2 => text + "==", 3 => text + "=", _ => text };
        if (!Base64.IsValid(padded))
        {
            throw new RpcException(new Status(StatusCode.Internal, $"A binary metadata value is not base64: '{text}'."));
        }

        return Convert.FromBase64String(padded);
    }
}
