using System.Text.Json.Nodes;
using DarkMatter.Trainer.Checkpoints;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Tests.Interop;

/// <summary>Exports a backbone and reads it back twice: here, and in Python with the lines that stand beside it.</summary>
internal static class Exports
{
    public static void ShouldGiveTheSameFeatures(Backbone net, Tensor x, string folder)
    {
        var export = Path.Combine(folder, "encoder.safetensors");
        BackboneExport.Write(net, export, [0.5f, 0.5f, 0.5f], [0.25f, 0.25f, 0.25f], imageSize: (int)x.shape[^1]);
        SafetensorsWriter.Write(Path.Combine(folder, "x.safetensors"), new TensorSet([("x", x)]).Capture());

        var config = JsonNode.Parse(File.ReadAllText(Path.ChangeExtension(export, ".json")))!;
        config["architecture"]!.GetValue<string>().ShouldBe(net.Description.Architecture);
        config["features"]!.GetValue<int>().ShouldBe(net.Features);
        var script = Path.Combine(folder, "load.py");
        File.WriteAllLines(script,
        [
            "import sys, types, tensorfile",
            "stub = types.ModuleType('safetensors.torch'); stub.load_file = lambda path: tensorfile.read(path)[0]",
            "sys.modules['safetensors'] = types.ModuleType('safetensors'); sys.modules['safetensors'].torch = stub; sys.modules['safetensors.torch'] = stub",
            $"PATH = '{export}'",
            .. config["load_with_torchvision"]!.AsArray().Select(line => line!.GetValue<string>()),
            "model.eval()",
            "with torch.no_grad():",
            $"    features = model(tensorfile.read('{folder}/x.safetensors')[0]['x'])",
            $"tensorfile.write('{folder}/y.safetensors', {{'features': features}})",
        ]);
        Peer.Run(script);

        using var read = BackboneExport.Read(net.Description, export, TorchStack.Current);
        read.eval();
        using var _ = no_grad();
        var (mine, theirs) = (read.call(x), Peer.Read(Path.Combine(folder, "y.safetensors"))["features"]);
        ((mine - theirs).norm() / theirs.norm()).item<float>().ShouldBeLessThan(1e-5f);
    }
}
