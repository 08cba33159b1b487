using System.Globalization;
using System.Text.Json;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using TorchSharp;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>
/// Writes a backbone for others to use: a safetensors file with torchvision's key names, and a JSON file beside it that says how to
/// build the network. A <c>torchvision.models.resnet18()</c> whose <c>fc</c> is <c>Identity</c> loads width 64 with the imagenet stem
/// strictly; other widths and stems need the few lines that the JSON names.
/// </summary>
public static class BackboneExport
{
    /// <summary>Writes <paramref name="path"/> and the same name with <c>.json</c>.</summary>
    /// <param name="backbone">What to write.</param>
    /// <param name="path">Ends in <c>.safetensors</c>; an existing file is replaced.</param>
    /// <param name="mean">Per channel, as in training.</param>
    /// <param name="std">Per channel, as in training.</param>
    /// <param name="imageSize">Pixels it was trained on.</param>
    /// <exception cref="ArgumentException">Another file ending.</exception>
    /// <exception cref="IOException">The disk is full or fails.</exception>
    public static void Write(ResNet backbone, string path, IReadOnlyList<float> mean, IReadOnlyList<float> std, int imageSize)
    {
        if (!path.EndsWith(".safetensors", StringComparison.Ordinal))
            throw new ArgumentException($"An export's name ends in .safetensors, but got '{path}'.", nameof(path));
        if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder)
            Directory.CreateDirectory(folder);
        var options = backbone.Options;
        var items = new TensorSet(backbone.state_dict().Select(t => (t.Key, t.Value))).Capture();
        var temporary = path + ".tmp";
        SafetensorsWriter.Write(temporary, items, new Dictionary<string, string>
        {
            ["format"] = "pt",
            ["architecture"] = $"resnet{options.Depth}",
            ["width"] = options.Width.ToString(CultureInfo.InvariantCulture),
            ["stem"] = options.Stem.ToString(),
        });
        File.Move(temporary, path, overwrite: true);
        File.WriteAllText(Path.ChangeExtension(path, ".json"), Config(backbone, mean, std, imageSize));
    }

    /// <summary>As <see cref="Write(ResNet, string, IReadOnlyList{float}, IReadOnlyList{float}, int)"/>, from a checkpoint folder that is verified first.</summary>
    /// <exception cref="CheckpointException">The checkpoint is damaged or of another model.</exception>
    public static void Write(string checkpoint, ResNetOptions options, string path, IReadOnlyList<float> mean, IReadOnlyList<float> std, int imageSize)
    {
        using var opened = CheckpointFolder.Open(checkpoint);
        using var backbone = Read(options, opened.ModelFiles, TorchStack.Current);
        Write(backbone, path, mean, std, imageSize);
    }

    /// <summary>Builds the backbone of a checkpoint or export and fills it.</summary>
    /// <param name="options">Its options, from the recipe.</param>
    /// <param name="path">A model.safetensors with names behind <c>backbone.</c>, or an export.</param>
    /// <param name="stack">Computes.</param>
    /// <exception cref="SafetensorsException">The file is damaged.</exception>
    /// <exception cref="CheckpointException">It holds another network.</exception>
    public static ResNet Read(ResNetOptions options, string path, ITorchStack stack) => Read(options, [path], stack);

    /// <summary>As <see cref="Read(ResNetOptions, string, ITorchStack)"/>, from the parts that the ranks of a run have written.</summary>
    public static ResNet Read(ResNetOptions options, IReadOnlyList<string> paths, ITorchStack stack)
    {
        var backbone = new ResNet(options, new Normalization(stack, null));
        try
        {
            var prefix = "backbone.";
            bool wide;
            using (var parts = SafetensorsParts.Open(paths))
            {
                if (!parts.Tensors.Any(t => t.Name.StartsWith(prefix, StringComparison.Ordinal)))
                    prefix = "";
                wide = parts.Tensors.Any(t => t.Name.StartsWith(prefix, StringComparison.Ordinal) && t.Type == SafetensorsType.Float64);
            }

            if (wide)
                backbone.to(torch.ScalarType.Float64);
            new TensorSet(backbone.state_dict().Select(t => (prefix + t.Key, t.Value))).Load(paths, onlyPrefix: prefix);
            if (wide)
                backbone.to(torch.ScalarType.Float32);
            return backbone;
        }
        catch
        {
            backbone.Dispose();
            throw;
        }
    }

    private static string Config(ResNet backbone, IReadOnlyList<float> mean, IReadOnlyList<float> std, int imageSize)
    {
        var options = backbone.Options;
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("architecture", $"resnet{options.Depth}");
            json.WriteNumber("width", options.Width);
            json.WriteString("stem", options.Stem.ToString());
            json.WriteNumber("features", backbone.Features);
            json.WriteNumber("image_size", imageSize);
            Numbers("mean", mean);
            Numbers("std", std);
            json.WriteStartArray("load_with_torchvision");
            foreach (var line in PythonLines(options))
                json.WriteStringValue(line);
            json.WriteEndArray();
            json.WriteEndObject();

            void Numbers(string name, IReadOnlyList<float> values)
            {
                json.WriteStartArray(name);
                foreach (var value in values)
                    json.WriteNumberValue(value);
                json.WriteEndArray();
            }
        }

        return System.Text.Encoding.UTF8.GetString(buffer.ToArray()) + "\n";
    }

    /// <summary>What to type in Python to get the same network.</summary>
    private static IEnumerable<string> PythonLines(ResNetOptions options)
    {
        var block = options.Depth == 50 ? "Bottleneck" : "BasicBlock";
        yield return "import torch, torchvision, safetensors.torch";
        if (options.Width == 64)
        {
            yield return $"model = torchvision.models.resnet{options.Depth}()";
        }
        else
        {
            yield return "class Narrow(torchvision.models.ResNet):";
            yield return "    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):";
            yield return $"        if self.inplanes == 64 and planes == 64: self.inplanes = {options.Width}; self.conv1 = torch.nn.Conv2d(3, {options.Width}, 7, 2, 3, bias=False); self.bn1 = torch.nn.BatchNorm2d({options.Width})";
            yield return $"        return super()._make_layer(block, planes * {options.Width} // 64, blocks, stride, dilate)";
            yield return $"model = Narrow(torchvision.models.resnet.{block}, {(options.Depth == 18 ? "[2, 2, 2, 2]" : "[3, 4, 6, 3]")})";
        }

        if (options.Stem != ResNetStem.ImageNet)
        {
            yield return $"model.conv1 = torch.nn.Conv2d(3, {options.Width}, 3, {(options.Stem == ResNetStem.Small ? 1 : 2)}, 1, bias=False)";
            yield return "model.maxpool = torch.nn.Identity()";
        }

        yield return "model.fc = torch.nn.Identity()";
        yield return "model.load_state_dict(safetensors.torch.load_file(PATH), strict=True)";
    }
}
