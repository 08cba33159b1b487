namespace DarkMatter.Data;

/// <summary>Makes views: applies drawn parameters to decoded pixels. Reuses its buffers; one thread at a time.</summary>
public sealed class ViewRenderer
{
    private readonly Resizer _resizer = new();
    private readonly GaussianBlur _blur = new();
    private float[] _planes = [];
    private float[] _scratch = [];

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
        var stride = ColorMath.PlaneLength(pixels);
        if (_planes.Length < 3 * stride)
        {
            _planes = new float[3 * stride];
            _scratch = new float[stride];
        }

        _resizer.Resize(image, parameters.Crop, size, parameters.Flip, _planes, stride);
        var planes = new Planes(_planes, stride, image.Channels);
        if (parameters.Jitter)
            Jitter(planes, pixels, parameters);
        if (parameters.Grayscale)
        {
            ColorMath.Grayscale(planes);
            planes = new Planes(_planes, stride, 1);
        }

        if (parameters.BlurSigma > 0)
        {
            _blur.Prepare(parameters.BlurSigma, recipe.Blur.KernelSize);
            for (var channel = 0; channel < planes.Count; channel++)
                _blur.Apply(planes[channel], _scratch.AsSpan(0, stride), size);
        }

        if (parameters.Solarize)
        {
            for (var channel = 0; channel < planes.Count; channel++)
                ColorMath.Solarize(planes[channel], (float)recipe.SolarizeThreshold);
        }

        PixelPacker.Pack(planes, pixels, output);
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
