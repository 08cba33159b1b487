using System.Globalization;

namespace DarkMatter.Silo;

/// <summary>Reads the options of the <c>darkmatter-silo</c> command.</summary>
public static class SiloArguments
{
    /// <summary>What <c>--help</c> prints.</summary>
    public const string Help = """
        darkmatter-silo: coordinates training runs

          --port N             coordinator service, gRPC without TLS (default 7400; 0 = any free port)
          --http-port N        health and status page, HTTP/1.1 (default 7401; 0 = any free port)
          --bind ADDRESS       address to listen on (default 127.0.0.1)
          --state DIR          folder of what survives a restart (default ./state)
          --failure-timeout S  seconds of silence after which a trainer is lost (default 2)
          --join-timeout S     seconds a run waits for all wanted trainers before it begins with fewer (default 120)
          --return-timeout S   seconds trainers have to come back after a restart of the silo (default 10)
          --stop-timeout S     seconds that stopping may take (default 10)
          --parent-pipe        stop when standard input ends
          --help               this text

        When it is ready it prints one line of JSON with its addresses. SIGTERM stops it in good order.
        """;

    private static readonly string[] s_names =
        ["--port", "--http-port", "--bind", "--state", "--failure-timeout", "--join-timeout", "--return-timeout", "--stop-timeout", "--parent-pipe", "--help"];

    /// <summary>The options, and everything that is wrong with the arguments.</summary>
    public static (SiloOptions Options, IReadOnlyList<string> Problems) Parse(IReadOnlyList<string> arguments)
    {
        var options = new SiloOptions();
        var problems = new List<string>();
        for (int i = 0; i < arguments.Count; i++)
        {
            string name = arguments[i];
            if (name == "--parent-pipe")
            {
                options = options with { ParentPipe = true };
            }
            else if (!s_names.Contains(name, StringComparer.Ordinal))
            {
                problems.Add($"unknown option '{name}': did you mean {Nearest(name)}? --help lists all");
            }
            else if (i + 1 == arguments.Count)
            {
                problems.Add($"{name} needs a value");
            }
            else
            {
                options = With(options, name, arguments[++i], problems);
            }
        }

        problems.AddRange(options.Problems());
        return (options, problems);
    }

    private static SiloOptions With(SiloOptions options, string name, string value, List<string> problems) => name switch
    {
        "--port" => options with { Port = Number(name, value, options.Port, problems) },
        "--http-port" => options with { HttpPort = Number(name, value, options.HttpPort, problems) },
        "--bind" => options with { Bind = value },
        "--state" => options with { StateDirectory = value },
        "--failure-timeout" => options with { FailureTimeout = Seconds(name, value, options.FailureTimeout, problems) },
        "--join-timeout" => options with { JoinTimeout = Seconds(name, value, options.JoinTimeout, problems) },
        "--return-timeout" => options with { ReturnTimeout = Seconds(name, value, options.ReturnTimeout, problems) },
        "--stop-timeout" => options with { StopTimeout = Seconds(name, value, options.StopTimeout, problems) },
        _ => options,
    };

    private static int Number(string name, string value, int otherwise, List<string> problems)
    {
        if (int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int number))
        {
            return number;
        }

        problems.Add($"{name} is '{value}', but must be a whole number");
        return otherwise;
    }

    private static TimeSpan Seconds(string name, string value, TimeSpan otherwise, List<string> problems)
    {
        const double longest = 1e6;
        if (double.TryParse(value, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds) && seconds <= longest)
        {
            return TimeSpan.FromSeconds(seconds);
        }

        problems.Add($"{name} is '{value}', but must be a number of seconds");
        return otherwise;
    }

    private static string Nearest(string name) => s_names.MinBy(known => Distance(name, known))!;

    // Levenshtein, row by row.
    private static int Distance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
            {
                int above = row[j];
                row[j] = Math.Min(Math.Min(above, row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1));
                diagonal = above;
            }
        }

        return row[b.Length];
    }
}
