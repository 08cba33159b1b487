using System.Reflection;
using TorchSharp.Modules;
using TorchSharp.Utils;

namespace TorchSharp.Utils
{
    /// <summary>The name under which a field's module, parameter or buffer is registered, instead of the field's own.</summary>
    [AttributeUsage(AttributeTargets.Field)]
    public sealed class ComponentNameAttribute : Attribute
    {
        public string Name { get; set; } = "";
    }
}

namespace TorchSharp
{
    public static partial class torch
    {
        public static partial class nn
        {
            /// <summary>A tree of parameters, buffers and modules. Its own members come before its children's, in the order of registration.</summary>
            public class Module : IDisposable
            {
                private readonly string kind;
                private readonly Dictionary<string, Module> submodules = [];
                private readonly Dictionary<string, Tensor> ownBuffers = [];
                private readonly Dictionary<string, Parameter> ownParameters = [];
                private readonly List<string> order = [];
                private bool registered;

                protected Module(string name) => kind = name;

                public virtual bool training { get; private set; } = true;

                public virtual string GetName() => kind;

                // ---- registration ----------------------------------------------------------------------------------------
                public virtual void register_module(string name, Module submodule)
                {
                    ArgumentNullException.ThrowIfNull(submodule);
                    Claim(name);
                    submodules.Add(name, submodule);
                    submodule.train(training);
                }

                public void add_module(string name, Module module) => register_module(name, module);

                public virtual void register_buffer(string name, Tensor tensor)
                {
                    if (tensor is null || tensor.IsInvalid) throw new ArgumentNullException(nameof(tensor), "A null tensor cannot be registered as a buffer.");
                    Claim(name);
                    ownBuffers.Add(name, tensor.DetachFromDisposeScope());
                }

                public virtual void register_parameter(string name, Parameter param)
                {
                    ArgumentNullException.ThrowIfNull(param);
                    Claim(name);
                    param.DetachFromDisposeScope();
                    ownParameters.Add(name, param);
                }

                /// <summary>Registers what the fields hold, each under its field's name; call it last in the constructor.</summary>
                protected virtual void RegisterComponents()
                {
                    if (registered) return;
                    registered = true;
                    for (var type = GetType(); type is not null && type != typeof(Module); type = type.BaseType)
                    {
                        const BindingFlags Own = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;
                        foreach (var field in type.GetFields(Own))
                        {
                            var name = field.GetCustomAttribute<ComponentNameAttribute>()?.Name ?? field.Name;
                            if (order.Contains(name)) continue;
                            if (field.GetValue(this) is Module module) register_module(name, module);
                            else if (field.GetValue(this) is Parameter parameter) register_parameter(name, parameter);
                            else if (field.GetValue(this) is Tensor tensor) register_buffer(name, tensor);
                        }
                    }
                }

                private void Claim(string name)
                {
                    if (string.IsNullOrEmpty(name) || name.Contains('.', StringComparison.Ordinal))
                    {
                        throw new ArgumentException($"'{name}' cannot name a part of {kind}: a name is not empty and has no dot.", nameof(name));
                    }
                    if (order.Contains(name)) throw new InvalidOperationException($"{kind} already has a part named '{name}'.");
                    order.Add(name);
                }

                // ---- what is in it -----------------------------------------------------------------------------------------
                public virtual IEnumerable<(string name, Module module)> named_children() => submodules.Select(pair => (pair.Key, pair.Value));

                public virtual IEnumerable<Module> children() => submodules.Values;

                public virtual IEnumerable<(string name, Module module)> named_modules()
                {
                    foreach (var pair in submodules) yield return (pair.Key, pair.Value);
                    foreach (var (prefix, child) in submodules)
                    {
                        foreach (var (name, module) in child.named_modules()) yield return ($"{prefix}.{name}", module);
                    }
                }

                public virtual IEnumerable<Module> modules() => named_modules().Select(pair => pair.module);

                public virtual IEnumerable<(string name, Parameter parameter)> named_parameters(bool recurse = true) =>
                    Walk(module => module.ownParameters, recurse, "", new(ReferenceEqualityComparer.Instance));

                public virtual IEnumerable<Parameter> parameters(bool recurse = true) => named_parameters(recurse).Select(pair => pair.parameter);

                public virtual IEnumerable<(string name, Tensor buffer)> named_buffers(bool recurse = true) =>
                    Walk(module => module.ownBuffers, recurse, "", new(ReferenceEqualityComparer.Instance));

                public virtual IEnumerable<Tensor> buffers(bool recurse = true) => named_buffers(recurse).Select(pair => pair.buffer);

                public virtual Parameter? get_parameter(string target) =>
                    named_parameters().Where(pair => pair.name == target).Select(pair => pair.parameter).FirstOrDefault();

                public virtual Tensor? get_buffer(string target) =>
                    named_buffers().Where(pair => pair.name == target).Select(pair => pair.buffer).FirstOrDefault();

                private IEnumerable<(string, T)> Walk<T>(Func<Module, Dictionary<string, T>> own, bool recurse, string prefix, HashSet<object> seen)
                    where T : class
                {
                    foreach (var (name, value) in own(this))
                    {
                        if (seen.Add(value)) yield return (prefix + name, value);
                    }
                    if (!recurse) yield break;
                    foreach (var (name, child) in submodules)
                    {
                        foreach (var found in child.Walk(own, true, $"{prefix}{name}.", seen)) yield return found;
                    }
                }

                // ---- state -------------------------------------------------------------------------------------------------
                /// <summary>The parameters, then the buffers, by their full names; the module's own tensors, not copies.</summary>
                public virtual Dictionary<string, Tensor> state_dict(Dictionary<string, Tensor>? destination = null, string? prefix = null)
                {
                    destination ??= [];
                    var start = string.IsNullOrEmpty(prefix) ? "" : prefix + ".";
                    foreach (var (name, parameter) in named_parameters()) destination.TryAdd(start + name, parameter);
                    foreach (var (name, buffer) in named_buffers()) destination.TryAdd(start + name, buffer);
                    return destination;
                }

                /// <summary>Copies tensors of the same names and shapes into this module; strictly, every name must be on both sides.</summary>
                public virtual (IList<string> missing_keys, IList<string> unexpected_keyes) load_state_dict(
                    Dictionary<string, Tensor> source, bool strict = true, IList<string>? skip = null)
                {
                    ArgumentNullException.ThrowIfNull(source);
                    var skipped = skip ?? [];
                    var destination = state_dict();
                    var missing = destination.Keys.Where(key => !skipped.Contains(key) && !source.ContainsKey(key)).ToList();
                    var unexpected = source.Keys.Where(key => !skipped.Contains(key) && !destination.ContainsKey(key)).ToList();
                    if (strict && missing.Count + unexpected.Count > 0)
                    {
                        throw new InvalidOperationException(
                            $"{kind}: the loaded state_dict is not identical to the target: missing [{string.Join(", ", missing)}], unexpected [{string.Join(", ", unexpected)}]");
                    }
                    using var quiet = no_grad();
                    foreach (var (key, target) in destination)
                    {
                        if (skipped.Contains(key) || !source.TryGetValue(key, out var value)) continue;
                        if (!target.shape.SequenceEqual(value.shape))
                        {
                            throw new ArgumentException(
                                $"{kind}: '{key}' has the shape [{string.Join(", ", target.shape)}], the loaded tensor [{string.Join(", ", value.shape)}]");
                        }
                        target.copy_(value);
                    }
                    return (missing, unexpected);
                }

                public virtual void train(bool train = true)
                {
                    training = train;
                    foreach (var child in submodules.Values) child.train(train);
                }

                public virtual void eval() => train(false);

                public virtual void zero_grad(bool set_to_none = true)
                {
                    foreach (var parameter in parameters())
                    {
                        if (set_to_none)
                        {
                            parameter.grad = null;
                            continue;
                        }
                        using var gradient = parameter.grad;
                        gradient?.zero_();
                    }
                }

                public virtual Module apply(Action<Module> fn)
                {
                    ArgumentNullException.ThrowIfNull(fn);
                    foreach (var child in submodules.Values) child.apply(fn);
                    fn(this);
                    return this;
                }

                /// <summary>Converts floating-point parameters and buffers where they are: the managed tensors stay the same objects.</summary>
                internal void Convert(ScalarType? type, Device? device)
                {
                    using var quiet = no_grad();
                    foreach (var tensor in parameters().Concat(buffers()))
                    {
                        var wanted = type is { } known && tensor.is_floating_point() ? known : tensor.dtype;
                        if (wanted == tensor.dtype && (device is null || device.type == tensor.device_type)) continue;
                        var learned = tensor.requires_grad;
                        using var converted = tensor.to(wanted, device ?? tensor.device);
                        tensor.Become(converted.detach().requires_grad_(learned));
                    }
                }

                public void Dispose()
                {
                    Dispose(true);
                    GC.SuppressFinalize(this);
                }

                protected virtual void Dispose(bool disposing)
                {
                    if (!disposing) return;
                    foreach (var child in submodules.Values) child.Dispose();
                    foreach (var parameter in ownParameters.Values) parameter.Dispose();
                    foreach (var buffer in ownBuffers.Values) buffer.Dispose();
                }
            }

            public interface IModule<T, TResult>
            {
                TResult call(T input);
            }

            public abstract class Module<T, TResult> : Module, IModule<T, TResult>
            {
                protected Module(string name) : base(name)
                {
                }

                public abstract TResult forward(T input);

                public TResult call(T input) => forward(input);
            }
        }
    }

    public static class ModuleExtensionMethods
    {
        public static T to<T>(this T module, torch.ScalarType type) where T : torch.nn.Module
        {
            if (!torch.is_floating_point(type))
            {
                throw new ArgumentException($"nn.Module.to only accepts floating point or complex types, but got desired dtype={type}");
            }
            module.Convert(type, null);
            return module;
        }

        public static T to<T>(this T module, torch.Device device) where T : torch.nn.Module
        {
            module.Convert(null, device);
            return module;
        }

        public static T to<T>(this T module, torch.Device device, torch.ScalarType type) where T : torch.nn.Module => module.to(type).to(device);
        public static T cpu<T>(this T module) where T : torch.nn.Module => module.to(torch.CPU);
        public static T @double<T>(this T module) where T : torch.nn.Module => module.to(torch.ScalarType.Float64);
        public static T @float<T>(this T module) where T : torch.nn.Module => module.to(torch.ScalarType.Float32);
    }
}
