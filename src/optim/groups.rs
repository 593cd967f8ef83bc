//! What optimizers share: groups of parameters with options of their own, the steps that each
//! parameter has made, and its moments.

use super::not_negative;
use super::state::{OptimizerState, ParamGroup};
use crate::autograd::Arena;
use crate::device::{AnyBuffer, AnyView, AnyViewMut, Backend, Device};
use crate::dtype::{Element, Float};
use crate::ops::{Update, UpdateTile, index32};
use crate::{Error, Result, Tensor};
use std::ops::Range;

/// The options of a group as a kernel takes them: numbers, the learning rate first.
pub(super) trait Group: bytemuck::Pod {
    /// Their names.
    const NAMES: &'static [&'static str];

    /// The moments that it needs, by PyTorch's names.
    fn needs(&self) -> Vec<&'static str>;

    /// Whether each is inside its range.
    fn check(&self) -> Result<()>;

    fn numbers(&self) -> &[f64] {
        bytemuck::cast_slice(std::slice::from_ref(self))
    }

    /// From numbers in the order of [`Group::NAMES`].
    fn of(numbers: &[f64]) -> Self {
        let mut group = Self::zeroed();
        bytemuck::cast_slice_mut(std::slice::from_mut(&mut group)).copy_from_slice(numbers);
        group
    }
}

/// The parameters of an arena in groups. Group 0 is of all that were not added to another, those that
/// join the arena later too.
pub(super) struct Groups<T: Float, G: Group> {
    arena: Arena<T>,
    /// As on the device.
    groups: Vec<G>,
    /// By parameter.
    group_of: Vec<usize>,
    /// Where the tiles of each parameter begin, and the end of all.
    first_tile: Vec<usize>,
    /// In the order of their names.
    moments: Vec<Moment<T>>,
    tables: Tables,
}

/// A value beside each parameter.
struct Moment<T: Element> {
    name: &'static str,
    buffer: AnyBuffer<T>,
}

/// The moments of a step, to write.
pub(super) struct Moments<'a, T: Element>(Vec<(&'static str, AnyViewMut<'a, T>)>);

impl<'a, T: Element> Moments<'a, T> {
    /// The moment of this name, if a group needs it; once.
    pub(super) fn take(&mut self, name: &str) -> Option<AnyViewMut<'a, T>> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The moment of this name, which every group needs.
    pub(super) fn take_needed(&mut self, name: &str) -> AnyViewMut<'a, T> {
        self.take(name).unwrap_or_else(|| unreachable!("every group needs {name}"))
    }
}

/// An [`Optimizer`](super::Optimizer) that is [`Groups`] and what launches its kernel.
macro_rules! optimizer_of_groups {
    ($optimizer:ident, $launch:expr) => {
        impl<T: Float> $crate::optim::Optimizer<T> for $optimizer<T> {
            fn step(&mut self) -> Result<()> {
                self.0.step($launch)
            }

            fn zero_grad(&self) {
                self.0.zero_grad();
            }

            fn set_lr(&mut self, lr: f64) -> Result<()> {
                self.0.set_lr(lr)
            }

            fn set_group_lr(&mut self, group: usize, lr: f64) -> Result<()> {
                self.0.set_group_lr(group, lr)
            }

            fn param_groups(&self) -> Vec<$crate::optim::ParamGroup> {
                self.0.param_groups()
            }

            fn state(&self) -> Result<$crate::optim::OptimizerState<T>> {
                self.0.state()
            }

            fn load_state(&mut self, state: &$crate::optim::OptimizerState<T>) -> Result<()> {
                self.0.load_state(state)
            }
        }
    };
}

pub(super) use optimizer_of_groups;

/// Where a captured step finds it.
struct Tables {
    /// [`UpdateTile`]s of all parameters.
    tiles: AnyBuffer<u32>,
    groups: AnyBuffer<f64>,
    /// By parameter.
    steps: AnyBuffer<u64>,
}

impl<T: Float, G: Group> Groups<T, G> {
    /// All parameters of `arena` as one group.
    pub(super) fn new(arena: &Arena<T>, group: G) -> Result<Self> {
        group.check()?;
        let device = arena.device();
        let tables = Tables {
            tiles: device.alloc(0)?,
            groups: device.upload(group.numbers())?,
            steps: device.alloc(0)?,
        };
        let (arena, groups, moments) = (arena.clone(), vec![group], Vec::new());
        let (group_of, first_tile) = (Vec::new(), vec![0]);
        let mut all = Self { arena, groups, group_of, first_tile, moments, tables };
        all.follow(vec![0; all.arena.parameters()], vec![group])?;
        Ok(all)
    }

    /// Gives `parameters` a group of their own.
    pub(super) fn add(&mut self, parameters: &[Tensor<T>], group: G) -> Result<()> {
        const NAME: &str = "parameters";
        group.check()?;
        self.join()?;
        let mut group_of = self.group_of.clone();
        for parameter in parameters {
            let called =
                parameter.name().unwrap_or_else(|| format!("a tensor {}", parameter.shape()));
            let Some(index) = self.arena.index_of(parameter) else {
                let message = format!("{called} is no parameter of this optimizer's arena");
                return Err(Error::argument(NAME, message));
            };
            if group_of[index] != 0 {
                let message = format!("{called} is in two groups; each parameter is in one");
                return Err(Error::argument(NAME, message));
            }
            group_of[index] = self.groups.len();
        }
        let groups = self.groups.iter().copied().chain([group]).collect();
        self.follow(group_of, groups)
    }

    /// Takes in the parameters that the arena has got since.
    fn join(&mut self) -> Result<()> {
        let parameters = self.arena.parameters();
        if parameters == self.group_of.len() {
            return Ok(());
        }
        self.arena.device().refuse_in_graph("a parameter that joins an optimizer")?;
        let mut group_of = self.group_of.clone();
        group_of.resize(parameters, 0);
        self.follow(group_of, self.groups.clone())
    }

    /// Changes to these groups of parameters, which may be more than before; nothing is changed on an
    /// error.
    fn follow(&mut self, group_of: Vec<usize>, groups: Vec<G>) -> Result<()> {
        let device = self.arena.device().clone();
        index32("optimizer", self.arena.len())?;
        let (mut tiles, mut first_tile) = (Vec::new(), vec![0]);
        for (parameter, &group) in group_of.iter().enumerate() {
            let Range { start, end } = self.arena.range_of(parameter);
            let range = start as u32..end as u32;
            tiles.extend(UpdateTile::of::<T>(range, parameter as u32, group as u32));
            first_tile.push(tiles.len());
        }
        let numbers: Vec<f64> = groups.iter().flat_map(|g| g.numbers().to_vec()).collect();
        let tables = Tables {
            tiles: device.upload(bytemuck::cast_slice(&tiles))?,
            groups: device.upload(&numbers)?,
            steps: device.grown(&self.tables.steps, group_of.len())?,
        };
        let mut names: Vec<_> = groups.iter().flat_map(Group::needs).collect();
        names.sort_unstable();
        names.dedup();
        let nothing = device.alloc(0)?;
        let moment = |name| {
            let known = self.moments.iter().find(|moment| moment.name == name);
            let buffer = known.map_or(&nothing, |moment| &moment.buffer);
            Ok(Moment { name, buffer: device.grown(buffer, self.arena.len())? })
        };
        self.moments = names.into_iter().map(moment).collect::<Result<_>>()?;
        (self.tables, self.group_of, self.groups) = (tables, group_of, groups);
        self.first_tile = first_tile;
        Ok(())
    }

    /// Has `launch` update the parameters that have a gradient: once, unless some between others have
    /// none. It gets values, gradients and moments.
    pub(super) fn step(
        &mut self,
        launch: impl Fn(
            &Device,
            Update<'_, Device>,
            AnyViewMut<'_, T>,
            AnyView<'_, T>,
            Moments<'_, T>,
        ) -> Result<()>,
    ) -> Result<()> {
        self.join()?;
        let Self { arena, first_tile, moments, tables, .. } = self;
        let gradients = arena.gradients()?;
        for parameters in arena.runs_with_grad() {
            let tiles = first_tile[parameters.start]..first_tile[parameters.end];
            let words = tiles.start * UpdateTile::WORDS..tiles.end * UpdateTile::WORDS;
            let update = Update {
                tiles: Device::slice(Device::view(&tables.tiles), words),
                groups: Device::view(&tables.groups),
                steps: Device::view_mut(&mut tables.steps),
                parameters: parameters.start as u32..parameters.end as u32,
                count: tiles.len(),
                elements: parameters.clone().map(|i| arena.range_of(i).len()).sum(),
            };
            let moments = moments
                .iter_mut()
                .map(|moment| (moment.name, Device::view_mut(&mut moment.buffer)));
            let moments = Moments(moments.collect());
            let mut values = arena.values_mut();
            let values = Device::view_mut(&mut values);
            launch(arena.device(), update, values, Device::view(&gradients), moments)?;
            arena.changed(parameters);
        }
        Ok(())
    }

    pub(super) fn zero_grad(&self) {
        self.arena.zero_grad();
    }

    pub(super) fn set_lr(&mut self, lr: f64) -> Result<()> {
        (0..self.groups.len()).try_for_each(|group| self.set_group_lr(group, lr))
    }

    pub(super) fn set_group_lr(&mut self, group: usize, lr: f64) -> Result<()> {
        not_negative("lr", lr)?;
        let groups = self.groups.len();
        let Some(options) = self.groups.get_mut(group) else {
            let message = format!("there is no group {group}, there are {groups}, counted from 0");
            return Err(Error::argument("group", message));
        };
        let mut numbers = options.numbers().to_vec();
        if lr.to_bits() != numbers[0].to_bits() {
            let at = group * numbers.len();
            let place = Device::slice_mut(Device::view_mut(&mut self.tables.groups), at..at + 1);
            self.arena.device().write(place, &[lr])?;
            numbers[0] = lr;
            *options = G::of(&numbers);
        }
        Ok(())
    }

    pub(super) fn param_groups(&self) -> Vec<ParamGroup> {
        let groups = self.groups.iter().enumerate();
        let group = |(i, group): (usize, &G)| ParamGroup {
            params: (0..self.group_of.len()).filter(|&p| self.group_of[p] == i).collect(),
            options: G::NAMES
                .iter()
                .map(|name| name.to_string())
                .zip(group.numbers().to_vec())
                .collect(),
        };
        groups.map(group).collect()
    }

    pub(super) fn state(&self) -> Result<OptimizerState<T>> {
        let device = self.arena.device();
        let moment = |moment: &Moment<T>| {
            Ok((moment.name.to_owned(), device.read(Device::view(&moment.buffer))?))
        };
        Ok(OptimizerState {
            steps: device.read(Device::view(&self.tables.steps))?,
            moments: self.moments.iter().map(moment).collect::<Result<_>>()?,
            param_groups: self.param_groups(),
        })
    }

    pub(super) fn load_state(&mut self, state: &OptimizerState<T>) -> Result<()> {
        self.join()?;
        let wrong = |message| Err(Error::argument("optimizer", message));
        let expected: Vec<_> =
            self.moments.iter().map(|m| (m.name, Device::len(&m.buffer))).collect();
        let found: Vec<_> =
            state.moments.iter().map(|(name, v)| (name.as_str(), v.len())).collect();
        if expected != found {
            return wrong(format!("its state is {found:?}, expected {expected:?}"));
        }
        let parameters = self.group_of.len();
        let steps = match state.steps[..] {
            [all] => vec![all; parameters],
            ref each if each.len() == parameters => each.to_vec(),
            ref other => {
                return wrong(format!(
                    "it has steps of {} parameters, not {parameters}",
                    other.len()
                ));
            }
        };
        let groups = self.groups_of(state)?;
        let device = self.arena.device();
        for (moment, (_, values)) in self.moments.iter_mut().zip(&state.moments) {
            device.write(Device::view_mut(&mut moment.buffer), values)?;
        }
        device.write(Device::view_mut(&mut self.tables.steps), &steps)?;
        let numbers: Vec<f64> = groups.iter().flat_map(|group| group.numbers().to_vec()).collect();
        device.write(Device::view_mut(&mut self.tables.groups), &numbers)?;
        self.groups = groups;
        Ok(())
    }

    /// The options in `state`, if its groups are of the same parameters as these.
    fn groups_of(&self, state: &OptimizerState<T>) -> Result<Vec<G>> {
        if state.param_groups.is_empty() {
            return Ok(self.groups.clone());
        }
        let own = self.param_groups();
        let same = own.len() == state.param_groups.len()
            && own.iter().zip(&state.param_groups).all(|(a, b)| a.params == b.params);
        if !same {
            let message =
                "its groups are of other parameters; add the same groups before its state";
            return Err(Error::argument("optimizer", message));
        }
        let group = |group: &ParamGroup| {
            // Of a state that was saved before an option was there, which then is off.
            let known = G::NAMES.len().min(group.options.len());
            let is_known = known > 0 && group.options.len() <= G::NAMES.len();
            let names = group.options.iter().map(|(name, _)| name);
            if !is_known || !names.eq(&G::NAMES[..known]) {
                let message =
                    format!("its options are {:?}, expected {:?}", group.options, G::NAMES);
                return Err(Error::argument("optimizer", message));
            }
            let mut numbers: Vec<f64> = group.options.iter().map(|(_, number)| *number).collect();
            numbers.resize(G::NAMES.len(), 0.0);
            let group = G::of(&numbers);
            group.check().map(|()| group)
        };
        state.param_groups.iter().map(group).collect()
    }
}
