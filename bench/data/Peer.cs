using System.Diagnostics;
using System.Globalization;

namespace DarkMatter.Data.Bench;

/// <summary>The torchvision side: a python3 process that makes views when it is told to.</summary>
internal sealed class Peer : IDisposable
{
    private static readonly string Script = Path.Combine(AppContext.BaseDirectory, "peer.py");

    private readonly Process _process;

    public Peer(string kind, string source)
    {
        _process = Start("serve", kind, source);
        if (_process.StandardOutput.ReadLine() != "ready")
            throw new InvalidOperationException("The torchvision side did not start; install it: apt-get install python3-torchvision python3-pil");
    }

    /// <summary>Writes synthetic photos.</summary>
    public static void MakePhotos(string folder, int count)
    {
        using var process = Start("make", folder, count.ToString(CultureInfo.InvariantCulture));
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new InvalidOperationException("The photos could not be made; install python3-pil, python3-numpy and python3-torchvision.");
    }

    /// <summary>CPU seconds for both views of so many images.</summary>
    public double Run(int images)
    {
        _process.StandardInput.WriteLine(images.ToString(CultureInfo.InvariantCulture));
        return double.Parse(_process.StandardOutput.ReadLine() ?? throw new InvalidOperationException("The torchvision side ended."), CultureInfo.InvariantCulture);
    }

    public void Dispose()
    {
        _process.StandardInput.Close();
        _process.WaitForExit(TimeSpan.FromSeconds(10));
        _process.Dispose();
    }

    private static Process Start(params string[] arguments)
    {
        var start = new ProcessStartInfo("/usr/bin/python3", [Script, .. arguments]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        foreach (var name in new[] { "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS" })
            start.Environment[name] = "1";
        return Process.Start(start) ?? throw new InvalidOperationException("python3 cannot be started; install it: apt-get install python3-torchvision python3-pil");
    }
}
