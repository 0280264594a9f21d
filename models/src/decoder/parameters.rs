//! Parameters and their gradients, reached by name.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};

use super::{CausalLm, NamedGradients};

/// A parameter as a checkpoint names it.
#[derive(Debug)]
pub struct NamedParameter {
    /// Its Hugging Face name.
    pub name: String,
    /// The lengths of its axes.
    pub shape: Vec<usize>,
    /// Its elements in row-major order, without autodiff.
    pub values: Tensor<1>,
    /// Whether it is trained, and not frozen.
    pub is_trained: bool,
}

impl CausalLm {
    /// Calls `f` with every parameter, in a fixed order.
    pub fn each_parameter(&self, f: impl FnMut(NamedParameter)) {
        self.visit(&mut Visitor { path: Path::default(), f });
    }

    /// Takes every parameter's gradient out of `gradients`, flat, in the order of [`each_parameter`](Self::each_parameter);
    /// `None` where the loss does not depend on the parameter.
    pub fn take_gradients(&self, gradients: &mut Gradients) -> NamedGradients {
        gradients_of(self, &[], gradients)
    }

    /// Replaces every parameter that `gradients` has one of by what `f` makes of its name, its flat value (without autodiff) and
    /// its gradient. The value is handed over, so that `f` can change it in place.
    ///
    /// # Panics
    /// If there is a gradient of a parameter that the model does not have.
    #[must_use]
    pub fn update(self, gradients: NamedGradients, f: impl FnMut(&str, Tensor<1>, Tensor<1>) -> Tensor<1>) -> Self {
        let gradients = gradients.into_iter().filter_map(|(name, gradient)| Some((name, gradient?))).collect();
        let mut mapper = Mapper { path: Path::default(), gradients, f };
        let updated = self.map(&mut mapper);
        let unknown = mapper.gradients.keys().next();
        assert_eq!(unknown, None, "gradients are of parameters of the model");
        updated
    }
}

/// Takes the gradients of the part of a model at `path`.
pub(super) fn gradients_of(part: &impl Module, path: &[&str], gradients: &mut Gradients) -> NamedGradients {
    let mut taken = vec![];
    let path = Path(path.iter().map(|name| (*name).to_owned()).collect());
    part.visit(&mut GradientVisitor { path, gradients, taken: &mut taken });
    taken
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let elements = tensor.shape().num_elements();
    tensor.without_autodiff().reshape([elements])
}

/// Where in a module a visitor is.
#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str, kind: &str) {
        if !is_unnamed(name, kind) {
            self.0.push(name.to_owned());
        }
    }

    fn exit(&mut self, name: &str, kind: &str) {
        if !is_unnamed(name, kind) {
            self.0.pop();
        }
    }

    fn name(&self) -> String {
        self.0.join(".")
    }
}

/// Whether no checkpoint names a module: it is one of the kinds that its field may be of, or all that lies below the head.
fn is_unnamed(name: &str, kind: &str) -> bool {
    kind.starts_with("Enum:") || name == "trunk"
}

/// A module's path and a closure to call at its leaves.
struct Visitor<F> {
    path: Path,
    f: F,
}

impl<F: FnMut(NamedParameter)> ModuleVisitor for Visitor<F> {
    fn enter_module(&mut self, name: &str, kind: &str) {
        self.path.enter(name, kind);
    }

    fn exit_module(&mut self, name: &str, kind: &str) {
        self.path.exit(name, kind);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let (name, shape, is_trained) = (self.path.name(), tensor.dims().to_vec(), tensor.is_require_grad());
        (self.f)(NamedParameter { name, shape, values: flat(tensor), is_trained });
    }
}

struct GradientVisitor<'a> {
    path: Path,
    gradients: &'a mut Gradients,
    taken: &'a mut NamedGradients,
}

impl ModuleVisitor for GradientVisitor<'_> {
    fn enter_module(&mut self, name: &str, kind: &str) {
        self.path.enter(name, kind);
    }

    fn exit_module(&mut self, name: &str, kind: &str) {
        self.path.exit(name, kind);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad_remove(self.gradients).map(flat);
        self.taken.push((self.path.name(), gradient));
    }
}

struct Mapper<F> {
    path: Path,
    /// Those that were not used yet.
    gradients: HashMap<String, Tensor<1>>,
    f: F,
}

impl<F: FnMut(&str, Tensor<1>, Tensor<1>) -> Tensor<1>> ModuleMapper for Mapper<F> {
    fn enter_module(&mut self, name: &str, kind: &str) {
        self.path.enter(name, kind);
    }

    fn exit_module(&mut self, name: &str, kind: &str) {
        self.path.exit(name, kind);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        let Some(gradient) = self.gradients.remove(&name) else {
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let (shape, autodiff, trained) = (tensor.dims(), tensor.is_autodiff(), tensor.is_require_grad());
        let value = (self.f)(&name, flat(tensor), gradient).reshape(shape);
        let value = if autodiff { value.autodiff() } else { value };
        // A frozen parameter stays so.
        let value = if trained { value.require_grad() } else { value };
        Param::from_mapped_value(id, value, mapper)
    }
}
