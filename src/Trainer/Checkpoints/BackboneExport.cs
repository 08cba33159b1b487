using System.Globalization;
using System.Text.Json;
using DarkMatter.Trainer.Models;
using DarkMatter.Trainer.Stack;
using TorchSharp;

namespace DarkMatter.Trainer.Checkpoints;

/// <summary>
/// Writes a backbone for others to use: a safetensors file with torchvision's key names, and a JSON file beside it that says how to
/// build the network. A <c>torchvision.models.resnet18()</c> or <c>regnet_y_400mf()</c> whose <c>fc</c> is <c>Identity</c> loads width 64 with the imagenet stem
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
    public static void Write(Backbone backbone, string path, IReadOnlyList<float> mean, IReadOnlyList<float> std, int imageSize)
    {
        if (!path.EndsWith(".safetensors", StringComparison.Ordinal))
            throw new ArgumentException($"An export's name ends in .safetensors, but got '{path}'.", nameof(path));
        if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder)
            Directory.CreateDirectory(folder);
        var options = backbone.Description;
        var items = new TensorSet(backbone.state_dict().Select(t => (t.Key, t.Value))).Capture();
        var temporary = path + ".tmp";
        SafetensorsWriter.Write(temporary, items, new Dictionary<string, string>(options.Facts()
            .Select(fact => KeyValuePair.Create(fact.Key, Convert.ToString(fact.Value, CultureInfo.InvariantCulture)!)))
        {
            ["format"] = "pt",
            ["architecture"] = options.Architecture,
        });
        File.Move(temporary, path, overwrite: true);
        File.WriteAllText(Path.ChangeExtension(path, ".json"), Config(backbone, mean, std, imageSize));
    }

    /// <summary>As <see cref="Write(Backbone, string, IReadOnlyList{float}, IReadOnlyList{float}, int)"/>, from a checkpoint folder that is verified first.</summary>
    /// <exception cref="CheckpointException">The checkpoint is damaged or of another model.</exception>
    public static void Write(string checkpoint, BackboneOptions options, string path, IReadOnlyList<float> mean, IReadOnlyList<float> std, int imageSize)
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
    public static Backbone Read(BackboneOptions options, string path, ITorchStack stack) => Read(options, [path], stack);

    /// <summary>As <see cref="Read(BackboneOptions, string, ITorchStack)"/>, from the parts that the ranks of a run have written.</summary>
    /// <param name="options">Its options, from the recipe.</param>
    /// <param name="paths">The model files of a checkpoint, or an export.</param>
    /// <param name="stack">Computes.</param>
    /// <param name="part">Which of a checkpoint's backbones: <see cref="Methods.MethodOptions.ExportedPart"/>.</param>
    public static Backbone Read(BackboneOptions options, IReadOnlyList<string> paths, ITorchStack stack, string part = "backbone")
    {
        var backbone = options.Create(new Normalization(stack, null));
        try
        {
            var prefix = part + ".";
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

    private static string Config(Backbone backbone, IReadOnlyList<float> mean, IReadOnlyList<float> std, int imageSize)
    {
        var options = backbone.Description;
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartObject();
            json.WriteString("architecture", options.Architecture);
            foreach (var (key, value) in options.Facts())
            {
                json.WritePropertyName(key);
                json.WriteRawValue(JsonSerializer.Serialize(value));
            }

            json.WriteNumber("features", backbone.Features);
            json.WriteNumber("image_size", imageSize);
            Numbers("mean", mean);
            Numbers("std", std);
            json.WriteStartArray("load_with_torchvision");
            foreach (var line in (string[])["import torch, torchvision, safetensors.torch", .. options.PythonLines(), "model.fc = torch.nn.Identity()", "model.load_state_dict(safetensors.torch.load_file(PATH), strict=True)"])
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
}
