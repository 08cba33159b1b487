using System.Runtime.InteropServices;
using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    public static partial class autograd
    {
        public static unsafe void backward(
            IList<Tensor> tensors, IList<Tensor>? grad_tensors = null, bool retain_graph = false, bool create_graph = false, IList<Tensor>? inputs = null)
        {
            nint[] roots = Handles(tensors), grads = Handles(grad_tensors), leaves = Handles(inputs);
            int result;
            fixed (nint* r = roots, g = grads, l = leaves)
            {
                result = Shim.Backward(r, roots.Length, grads.Length == 0 ? null : g, retain_graph || create_graph ? 1 : 0, create_graph ? 1 : 0, l, leaves.Length);
            }
            GC.KeepAlive((tensors, grad_tensors, inputs));
            Shim.Check(result);
        }

        /// <summary>The gradients of the outputs' sum; null where an input had no part in it and <paramref name="allow_unused"/> says that is fine.</summary>
        public static unsafe IList<Tensor> grad(
            IList<Tensor> outputs, IList<Tensor> inputs, IList<Tensor>? grad_outputs = null,
            bool retain_graph = false, bool create_graph = false, bool allow_unused = false)
        {
            nint[] roots = Handles(outputs), leaves = Handles(inputs), grads = Handles(grad_outputs), results = new nint[inputs.Count];
            int result;
            fixed (nint* r = roots, l = leaves, g = grads, o = results)
            {
                result = Shim.GradsOf(
                    r, roots.Length, l, leaves.Length, grads.Length == 0 ? null : g,
                    retain_graph || create_graph ? 1 : 0, create_graph ? 1 : 0, allow_unused ? 1 : 0, o);
            }
            GC.KeepAlive((outputs, inputs, grad_outputs));
            Shim.Check(result);
            return [.. results.Select(handle => handle == 0 ? null! : new Tensor(handle))];
        }

        private static nint[] Handles(IList<Tensor>? tensors) => tensors is null ? [] : [.. tensors.Select(tensor => tensor.Handle)];

        /// <summary>What a function's forward leaves for its backward.</summary>
        public class AutogradContext : IDisposable
        {
            private readonly Dictionary<string, object> data = [];
            private List<Tensor> requested = [];
            private List<Tensor> saved = [];

            public bool MaterializeGrads { get; private set; } = true;

            internal List<Tensor> NonDifferentiable { get; private set; } = [];

            public void save_for_backward(List<Tensor> tensors) => requested = tensors;

            public void save_data(string key, object value) => data[key] = value;

            public object? get_data(string key) => data.GetValueOrDefault(key);

            public void mark_non_differentiable(List<Tensor> tensors) => NonDifferentiable = tensors;

            public void set_materialize_grads(bool value) => MaterializeGrads = value;

            /// <summary>The saved tensors, without their history: a function's backward is not itself differentiable here.</summary>
            public List<Tensor> get_saved_variables() => [.. saved.Select(tensor => tensor?.alias()!)];

            public void Dispose()
            {
                foreach (var tensor in saved) tensor?.Dispose();
                saved = [];
                GC.SuppressFinalize(this);
            }

            /// <summary>Aliases without history, outside every scope: an output saved by its own function makes no cycle.</summary>
            internal void Keep() => saved = [.. requested.Select(tensor => tensor is null ? null! : tensor.detach().DetachFromDisposeScope())];
        }

        /// <summary>An operation with its own backward: subclass <see cref="SingleTensorFunction{T}"/> or <see cref="MultiTensorFunction{T}"/>.</summary>
        public abstract class Function<T> where T : Function<T>, new()
        {
            internal static T Instance { get; } = new();

            public abstract string Name { get; }

            internal abstract List<Tensor> ForwardAll(AutogradContext ctx, object[] vars);
            internal abstract List<Tensor> BackwardAll(AutogradContext ctx, List<Tensor> grads);

            internal static unsafe List<Tensor> Apply(object[] vars)
            {
                var context = new AutogradContext();
                var isInput = vars.Select(value => value is Tensor { IsInvalid: false }).ToArray();
                var inputs = vars.OfType<Tensor>().Where(tensor => !tensor.IsInvalid).ToArray();
                List<Tensor> outputs;
                using (no_grad()) outputs = Instance.ForwardAll(context, vars);
                if (!is_grad_enabled() || !inputs.Any(input => input.requires_grad))
                {
                    context.Dispose();
                    return outputs;
                }
                using (no_grad()) context.Keep();
                var node = new FunctionNode(Instance.Name, context, isInput, [.. outputs.Select(Shape.Of)], Instance.BackwardAll);
                nint[] ins = Handles(inputs), outs = Handles(outputs), results = new nint[outputs.Count];
                int[] differentiable = [.. outputs.Select(output => output.is_floating_point() && !context.NonDifferentiable.Contains(output) ? 1 : 0)];
                fixed (nint* i = ins, o = outs, r = results)
                fixed (int* d = differentiable)
                {
                    Shim.Check(Shim.Function(
                        Instance.Name, i, ins.Length, o, d, outs.Length, &FunctionNode.Run, &Callbacks.Free, Callbacks.Keep(node), r));
                }
                // What forward made is replaced by its aliases in the graph; an input handed through is the caller's and stays.
                foreach (var output in outputs.Where(output => !inputs.Contains(output))) output.Dispose();
                return [.. results.Select(handle => new Tensor(handle))];
            }
        }

        public abstract class SingleTensorFunction<T> : Function<T> where T : SingleTensorFunction<T>, new()
        {
            public static Tensor apply(params object[] vars) => Apply(vars)[0];

            public abstract Tensor forward(AutogradContext ctx, params object[] vars);

            /// <summary>One gradient per argument of forward; null where there is none.</summary>
            public abstract List<Tensor> backward(AutogradContext ctx, Tensor grad_output);

            internal sealed override List<Tensor> ForwardAll(AutogradContext ctx, object[] vars) => [forward(ctx, vars)];
            internal sealed override List<Tensor> BackwardAll(AutogradContext ctx, List<Tensor> grads) => backward(ctx, grads[0]);
        }

        public abstract class MultiTensorFunction<T> : Function<T> where T : MultiTensorFunction<T>, new()
        {
            public static List<Tensor> apply(params object[] vars) => Apply(vars);

            public abstract List<Tensor> forward(AutogradContext ctx, params object[] vars);

            public abstract List<Tensor> backward(AutogradContext ctx, List<Tensor> grad_outputs);

            internal sealed override List<Tensor> ForwardAll(AutogradContext ctx, object[] vars) => forward(ctx, vars);
            internal sealed override List<Tensor> BackwardAll(AutogradContext ctx, List<Tensor> grads) => backward(ctx, grads);
        }

        internal sealed record Shape(long[] Size, ScalarType Type)
        {
            internal static Shape Of(Tensor tensor) => new(tensor.shape, tensor.dtype);
        }

        /// <summary>The managed half of a node in the native graph, alive as long as that node.</summary>
        internal sealed class FunctionNode(
            string name, AutogradContext context, bool[] isInput, Shape[] outputs, Func<AutogradContext, List<Tensor>, List<Tensor>> backward) : IDisposable
        {
            public void Dispose() => context.Dispose();

            [UnmanagedCallersOnly]
            internal static unsafe int Run(nint state, nint* grads, long count, nint* results, long room) =>
                Callbacks.Run(
                    (state, grads: (nint)grads, count, results: (nint)results, room),
                    call => Callbacks.Target<FunctionNode>(call.state).Run(new((nint*)call.grads, (int)call.count), new((nint*)call.results, (int)call.room)));

            private void Run(ReadOnlySpan<nint> grads, Span<nint> results)
            {
                using var scope = NewDisposeScope();
                var given = new List<Tensor>();
                for (var i = 0; i < grads.Length; i++)
                {
                    given.Add(grads[i] != 0 ? new Tensor(grads[i]) : context.MaterializeGrads ? zeros(outputs[i].Size, outputs[i].Type) : null!);
                }
                using var quiet = no_grad();
                var found = backward(context, given);
                if (found.Count < isInput.Length || found.Skip(isInput.Length).Any(tensor => tensor is not null))
                {
                    throw new InvalidOperationException(
                        $"Function {name} returned an incorrect number of gradients (expected {isInput.Length}, got {found.Count})");
                }
                var next = 0;
                for (var i = 0; i < isInput.Length; i++)
                {
                    if (isInput[i]) results[next++] = found[i] is { IsInvalid: false } tensor ? Shim.Share(tensor.Handle) : 0;
                    else if (found[i] is not null)
                    {
                        throw new InvalidOperationException(
                            $"Function {name} returned a gradient at position {i + 1}, but the corresponding forward input was not a Tensor");
                    }
                }
            }
        }
    }
}
