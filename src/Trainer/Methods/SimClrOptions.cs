namespace DarkMatter.Trainer.Methods;

/// <summary>What SimCLR's head and loss look like. Source: Chen et al. 2020, section 3 and appendix B; defaults of the authors' code.</summary>
public sealed record SimClrOptions
{
    /// <summary>τ, what similarities are divided by. Range above 0 to 10, default 0.5 (the authors' for small images; 0.1 on ImageNet).</summary>
    public double Temperature { get; init; } = 0.5;

    /// <summary>Width of the projector's hidden layers. 0 means as wide as the backbone's features. Default 0, the authors' choice.</summary>
    public int ProjectorHidden { get; init; }

    /// <summary>Dimensions of the embedding the loss compares. Default 128.</summary>
    public int ProjectorOutput { get; init; } = 128;

    /// <summary>Linear layers of the projector, 1 to 5. Default 2; the authors use 3 in SimCLR v2.</summary>
    public int ProjectorLayers { get; init; } = 2;

    /// <summary>Everything that is wrong with these options; empty when nothing is.</summary>
    public IEnumerable<string> Problems()
    {
        if (!(Temperature is > 0 and <= 10))
            yield return $"method.temperature: {Temperature} is outside (0, 10]";
        if (ProjectorHidden is < 0 or > 16384)
            yield return $"method.projector_hidden: {ProjectorHidden} is outside 0..16384 (0: as wide as the features)";
        if (ProjectorOutput is < 2 or > 16384)
            yield return $"method.projector_output: {ProjectorOutput} is outside 2..16384";
        if (ProjectorLayers is < 1 or > 5)
            yield return $"method.projector_layers: {ProjectorLayers} is outside 1..5";
    }
}
