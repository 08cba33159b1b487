namespace DarkMatter.Trainer.Optimizers;

/// <summary>How one parameter is updated.</summary>
public enum ParameterUpdate
{
    /// <summary>With the schedule's learning rate.</summary>
    Scheduled = 0,

    /// <summary>With the schedule's peak learning rate, at every step.</summary>
    ConstantRate = 1,

    /// <summary>Not at all: neither its gradient nor decay nor momentum moves it.</summary>
    Frozen = 2,
}
