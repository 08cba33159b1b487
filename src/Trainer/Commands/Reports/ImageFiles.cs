using DarkMatter.Data;
using static TorchSharp.torch;

namespace DarkMatter.Trainer.Commands.Reports;

/// <summary>Single image files as a network sees images.</summary>
internal static class ImageFiles
{
    /// <summary>The largest centred square of each, resized: bytes [n, size, size, 3].</summary>
    /// <exception cref="CommandException">A file is missing, or is no image that can be decoded.</exception>
    public static Tensor Load(IReadOnlyList<string> files, int size)
    {
        var each = size * size * 3;
        var images = empty([files.Count, size, size, 3], dtype: ScalarType.Byte);
        var renderer = new ViewRenderer();
        using var codec = new ImageCodec();
        foreach (var (i, file) in files.Index())
        {
            try
            {
                var image = codec.Decode(File.ReadAllBytes(file));
                var side = Math.Min(image.Region.Width, image.Region.Height);
                var square = new PixelRegion((image.Region.Width - side) / 2, (image.Region.Height - side) / 2, side, side);
                renderer.Render(image, ViewParameters.Plain(square), new ViewRecipe { Size = size }, images.bytes.Slice(i * each, each));
            }
            catch (Exception e) when (e is BrokenImageException or IOException or UnauthorizedAccessException)
            {
                images.Dispose();
                throw new CommandException(ExitCode.BadRequest, e switch
                {
                    BrokenImageException => $"{file}: it is no image that can be read ({e.Message}); give JPEG, PNG or WebP files",
                    FileNotFoundException or DirectoryNotFoundException => $"{file}: there is no such file; check the path",
                    _ when Directory.Exists(file) => $"{file}: it is a folder; give the images in it, or a packed dataset with --dataset",
                    _ => $"{file}: it cannot be read ({e.Message}); check who may read it",
                }, e);
            }
        }

        return images;
    }
}
