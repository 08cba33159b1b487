using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace TorchSharp.Native;

/// <summary>Finds the shim next to this assembly and says what to do when it, or the libtorch behind it, is missing.</summary>
internal static class NativeLibraryLoader
{
    internal const string Name = "darkmatter-torch";
    private const string FileName = "libdarkmatter-torch.so";

#pragma warning disable CA2255 // A library that must resolve its native half before the first call: what the attribute is for.
    [ModuleInitializer]
    internal static void Register() => NativeLibrary.SetDllImportResolver(typeof(NativeLibraryLoader).Assembly, Resolve);
#pragma warning restore CA2255

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        if (name != Name) return 0;
        var folder = Path.GetDirectoryName(assembly.Location) is { Length: > 0 } location ? location : AppContext.BaseDirectory;
        var path = Path.Combine(folder, FileName);
        if (!File.Exists(path))
        {
            throw new DllNotFoundException($"{FileName} is not in {folder}. It is built with the project src/Portable/TorchSharp: run 'make setup'.");
        }
        try
        {
            return NativeLibrary.Load(path);
        }
        catch (DllNotFoundException exception)
        {
            throw new DllNotFoundException(
                $"{path} does not load: {exception.Message.Trim()} It needs the system's libtorch (Debian: libtorch1.13): run 'make setup'.", exception);
        }
    }
}
