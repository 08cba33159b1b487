namespace DarkMatter.Data;

/// <summary>Makes views: applies drawn parameters to decoded pixels. Reuses its buffers; one thread at a time.</summary>
public sealed class ViewRenderer
{
    private readonly Resizer _resizer = new();
    private readonly GaussianBlur _blur = new();
    private float[] _planes = [];
    private float[] _scratch = [];
    private float[] _sheet = [];
    private byte[] _patch = [];

    /// <summary>
    /// Renders one view. A gray image stays one plane until the end; the bytes are those of the same image as RGB.
    /// </summary>
    /// <param name="image">At least the crop's pixels.</param>
    /// <param name="parameters">What to do.</param>
    /// <param name="recipe">Size, blur kernel and solarize threshold.</param>
    /// <param name="output">uint8 [Size, Size, 3].</param>
    public void Render(DecodedImage image, in ViewParameters parameters, ViewRecipe recipe, Span<byte> output)
    {
        ArgumentNullException.ThrowIfNull(recipe);
        var size = recipe.Size;
        var pixels = size * size;
        if (output.Length != pixels * 3)
            throw new ArgumentException($"{output.Length} bytes are not [{size}, {size}, 3].", nameof(output));
        if (recipe.Grid > 1)
        {
            RenderPatches(image, parameters, recipe, output);
            return;
        }

        var stride = Reserve(pixels);
        _resizer.Resize(image, parameters.Crop, size, parameters.Flip, _planes, stride);
        Finish(new Planes(_planes, stride, image.Channels), parameters, recipe, size, output);
    }

    private void RenderPatches(DecodedImage image, in ViewParameters parameters, ViewRecipe recipe, Span<byte> output)
    {
        var layout = new PatchLayout(parameters.Key, recipe);
        var (patch, pixels) = (layout.Patch, layout.Patch * layout.Patch);
        var sheetStride = ColorMath.PlaneLength(layout.Sheet * layout.Sheet);
        if (_sheet.Length < 3 * sheetStride)
            _sheet = new float[3 * sheetStride];
        _resizer.Resize(image, parameters.Crop, layout.Sheet, flip: false, _sheet, sheetStride);
        var stride = Reserve(pixels);
        if (_patch.Length < pixels * 3)
            _patch = new byte[pixels * 3];
        for (var place = 0; place < recipe.Grid * recipe.Grid; place++)
        {
            var own = ViewParameters.Draw(layout.Key(place), recipe, image.Region.Width, image.Region.Height);
            var (left, top) = layout.Source(place);
            for (var channel = 0; channel < image.Channels; channel++)
            {
                for (var y = 0; y < patch; y++)
                {
                    var row = _planes.AsSpan((channel * stride) + (y * patch), patch);
                    _sheet.AsSpan((channel * sheetStride) + ((top + y) * layout.Sheet) + left, patch).CopyTo(row);
                    if (own.Flip)
                        row.Reverse();
                }
            }

            Finish(new Planes(_planes, stride, image.Channels), own, recipe, patch, _patch.AsSpan(0, pixels * 3));
            var (gridRow, gridColumn) = Math.DivRem(place, recipe.Grid);
            for (var y = 0; y < patch; y++)
                _patch.AsSpan(y * patch * 3, patch * 3).CopyTo(output[(3 * ((((gridRow * patch) + y) * recipe.Size) + (gridColumn * patch)))..]);
        }
    }

    /// <summary>Everything that follows the crop: colours, blur, bytes.</summary>
    private void Finish(Planes planes, in ViewParameters parameters, ViewRecipe recipe, int size, Span<byte> output)
    {
        var pixels = size * size;
        if (parameters.Jitter)
            Jitter(planes, pixels, parameters);
        if (parameters.Grayscale)
        {
            ColorMath.Grayscale(planes);
            planes = planes.First;
        }

        if (parameters.BlurSigma > 0)
        {
            _blur.Prepare(parameters.BlurSigma, recipe.Blur.KernelSize);
            for (var channel = 0; channel < planes.Count; channel++)
                _blur.Apply(planes[channel], _scratch.AsSpan(0, ColorMath.PlaneLength(pixels)), size);
        }

        if (parameters.Solarize)
        {
            for (var channel = 0; channel < planes.Count; channel++)
                ColorMath.Solarize(planes[channel], (float)recipe.SolarizeThreshold);
        }

        PixelPacker.Pack(planes, pixels, output);
    }

    /// <summary>Makes room for planes of so many pixels; returns the distance between them.</summary>
    private int Reserve(int pixels)
    {
        var stride = ColorMath.PlaneLength(pixels);
        if (_planes.Length < 3 * stride)
        {
            _planes = new float[3 * stride];
            _scratch = new float[stride];
        }

        return stride;
    }

    private static void Jitter(Planes planes, int pixels, in ViewParameters parameters)
    {
        for (var place = 0; place < 4; place++)
        {
            switch (parameters.OperationAt(place))
            {
                case ColorOperation.Brightness when parameters.Brightness != 1:
                    for (var channel = 0; channel < planes.Count; channel++)
                        ColorMath.Brightness(planes[channel], parameters.Brightness);
                    break;
                case ColorOperation.Contrast when parameters.Contrast != 1:
                    ColorMath.Contrast(planes, pixels, parameters.Contrast);
                    break;
                case ColorOperation.Saturation when parameters.Saturation != 1:
                    ColorMath.Saturation(planes, parameters.Saturation);
                    break;
                case ColorOperation.Hue when parameters.Hue != 0:
                    ColorMath.Hue(planes, parameters.Hue);
                    break;
            }
        }
    }
}
