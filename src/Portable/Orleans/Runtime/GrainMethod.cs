using System.Collections.Concurrent;
using System.Linq.Expressions;
using System.Reflection;
using Orleans.Concurrency;

namespace Orleans.Runtime;

/// <summary>What is known of a grain interface's method: how to send it, how to run it, how it interleaves.</summary>
internal abstract class GrainMethod
{
    private static readonly ConcurrentDictionary<MethodInfo, GrainMethod> s_known = new();

    private readonly bool[] _copies;

    private protected GrainMethod(MethodInfo method)
    {
        Name = $"{method.DeclaringType!.Name}.{method.Name}";
        AlwaysInterleaves = method.IsDefined(typeof(AlwaysInterleaveAttribute));
        IsReadOnly = method.IsDefined(typeof(ReadOnlyAttribute));
        IsOneWay = method.IsDefined(typeof(OneWayAttribute));
        CopiesResult = !method.ReturnParameter.IsDefined(typeof(ImmutableAttribute));
        _copies = Array.ConvertAll(method.GetParameters(), p => !p.IsDefined(typeof(ImmutableAttribute)));
    }

    public string Name { get; }

    public bool AlwaysInterleaves { get; }

    public bool IsReadOnly { get; }

    public bool IsOneWay { get; }

    public bool CopiesResult { get; }

    public static GrainMethod Of(MethodInfo method) =>
        s_known.TryGetValue(method, out var known) ? known : s_known.GetOrAdd(method, Describe);

    /// <summary>The caller's side: copies the arguments, sends, returns what the interface's method returns.</summary>
    public abstract object Call(GrainReference reference, object?[] arguments);

    /// <summary>The callee's side: runs the grain's code.</summary>
    public abstract Task Invoke(object grain, object?[] arguments);

    private protected GrainCall<T> Send<T>(GrainReference reference, object?[] arguments)
    {
        // The array was made for this call by the proxy, so copies replace the values in place.
        DeepCopier.CopyArguments(arguments, _copies);
        var caller = (TaskScheduler.Current as ActivationScheduler)?.Owner;
        var call = new GrainCall<T>(this, reference, arguments, caller?.GrainId.ToString());
        reference.Silo.Send(call, fromGrain: caller is not null);
        return call;
    }

    private static GrainMethod Describe(MethodInfo method)
    {
        var returns = method.ReturnType;
        bool isGeneric = returns.IsGenericType;
        var open = isGeneric ? returns.GetGenericTypeDefinition() : returns;
        if (open == typeof(Task))
        {
            return new Plain<Task>(method, static task => task, static call => call.Answer);
        }

        if (open == typeof(ValueTask))
        {
            return new Plain<ValueTask>(method, static task => task.AsTask(), static call => new ValueTask(call.Answer));
        }

        if (open == typeof(Task<>) || open == typeof(ValueTask<>))
        {
            var shape = (open == typeof(Task<>) ? typeof(WithTask<>) : typeof(WithValueTask<>)).MakeGenericType(returns.GenericTypeArguments);
            return (GrainMethod)Activator.CreateInstance(shape, method)!;
        }

        throw new InvalidOperationException(
            $"{method.DeclaringType}.{method.Name} returns {returns}, but methods of grain interfaces return Task, Task<T>, ValueTask or ValueTask<T>.");
    }

    /// <summary>Compiles <c>(grain, arguments) => ((IInterface)grain).Method((A)arguments[0], …)</c>.</summary>
    private static Func<object, object?[], TReturn> Compile<TReturn>(MethodInfo method)
    {
        var grain = Expression.Parameter(typeof(object));
        var arguments = Expression.Parameter(typeof(object?[]));
        var values = method.GetParameters().Select((parameter, i) =>
            (Expression)Expression.Convert(Expression.ArrayIndex(arguments, Expression.Constant(i)), parameter.ParameterType));
        var call = Expression.Call(Expression.Convert(grain, method.DeclaringType!), method, values);
        return Expression.Lambda<Func<object, object?[], TReturn>>(call, grain, arguments).Compile();
    }

    private sealed class Plain<TReturn>(MethodInfo method, Func<TReturn, Task> asTask, Func<GrainCall<NoResult>, object> answer)
        : GrainMethod(method)
    {
        private readonly Func<object, object?[], TReturn> _invoke = Compile<TReturn>(method);

        public override object Call(GrainReference reference, object?[] arguments)
        {
            var call = Send<NoResult>(reference, arguments);
            if (!IsOneWay)
            {
                return answer(call);
            }

            return typeof(TReturn) == typeof(Task) ? Task.CompletedTask : default(ValueTask);
        }

        public override Task Invoke(object grain, object?[] arguments) => asTask(_invoke(grain, arguments));
    }

    private sealed class WithTask<T>(MethodInfo method) : GrainMethod(method)
    {
        private readonly Func<object, object?[], Task<T>> _invoke = Compile<Task<T>>(method);

        public override object Call(GrainReference reference, object?[] arguments) => Send<T>(reference, arguments).Answer;

        public override Task Invoke(object grain, object?[] arguments) => _invoke(grain, arguments);
    }

    private sealed class WithValueTask<T>(MethodInfo method) : GrainMethod(method)
    {
        private readonly Func<object, object?[], ValueTask<T>> _invoke = Compile<ValueTask<T>>(method);

        public override object Call(GrainReference reference, object?[] arguments) => new ValueTask<T>(Send<T>(reference, arguments).Answer);

        public override Task Invoke(object grain, object?[] arguments) => _invoke(grain, arguments).AsTask();
    }
}
