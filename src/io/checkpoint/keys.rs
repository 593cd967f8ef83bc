//! Which of a file's keys is which of the network's.
//!
//! The same network has other keys in other programs: `0.weight` is `module.0.weight` after
//! `DataParallel`, `_orig_mod.0.weight` after `torch.compile`, `conv1.weight` in a class with names
//! of its own, `0.model.0.weight` in the course's blocks. The last part is always the same, for the
//! layer gives it. So what is matched is layers: one by one, in order, to the first that has the
//! same last parts with the same shapes.

use crate::Shape;
use crate::nn::{StateDict, Value, Values};
use std::cmp::Ordering;

/// How many keys of each side a message shows.
const SHOWN: usize = 3;

/// How many keys are looked at; the network has 25.
const MAX_KEYS: usize = 10_000;

/// What a network has under a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The key.
    pub name: String,
    /// The shape of its value.
    pub shape: Shape,
    /// Whether it is a counter, which a file may lack.
    pub counts: bool,
}

/// The values of a file under the network's keys.
#[derive(Debug)]
pub struct Fitted {
    /// All values that are wanted.
    pub dict: StateDict,
    /// The network's keys, each with the one of the file; no keys where they are the same.
    pub matched: Vec<(String, String)>,
}

/// The order of keys in which numbers in them count as numbers: `2.bias` comes before `10.bias`, and
/// any number before a name.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    // Parts by themselves have an order, so keys have one too: a sort may panic where there is none.
    fn part(text: &str) -> (bool, u64, &str) {
        text.parse::<u64>().map_or((true, 0, text), |number| (false, number, text))
    }
    a.split('.').map(part).cmp(b.split('.').map(part))
}

/// A layer of a file: what stands before the last dot, and what behind.
struct Layer<'a> {
    path: &'a str,
    values: Vec<(&'a str, &'a str, &'a Value)>,
}

fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

fn layers(dict: &StateDict) -> Vec<Layer<'_>> {
    let mut layers: Vec<Layer<'_>> = Vec::new();
    for (key, value) in dict.iter() {
        let (path, name) = split(key);
        // Most often the last one; keys of a layer need not stand together.
        match layers.iter_mut().rev().find(|layer| layer.path == path) {
            Some(layer) => layer.values.push((name, key, value)),
            None => layers.push(Layer { path, values: vec![(name, key, value)] }),
        }
    }
    layers
}

/// How many outputs a file's network has, if its last layer reads as many numbers as that of
/// `wanted`; `None` where no layer does.
pub fn outputs(dict: &StateDict, wanted: &[Wanted]) -> Option<usize> {
    let weight = wanted.iter().rfind(|wanted| wanted.shape.rank() == 2)?;
    let inputs = weight.shape.dims()[1];
    let (_, name) = split(&weight.name);
    let of = |(key, value): (&str, &Value)| match *value.shape.dims() {
        [outputs, of] if of == inputs && split(key).1 == name => Some(outputs),
        _ => None,
    };
    let own = dict.get(&weight.name).map(|value| (weight.name.as_str(), value)).and_then(of);
    own.or_else(|| dict.iter().filter_map(of).last())
}

/// The values of `dict` under the keys of `wanted`. A counter that is missing is 0, and one may have a
/// shape of one element.
///
/// # Errors
/// What does not fit, with the first keys of both sides and how to rename.
pub fn fit(dict: &StateDict, wanted: &[Wanted]) -> Result<Fitted, String> {
    let keys = dict.iter().count();
    if keys > MAX_KEYS {
        return Err(format!("has {keys} tensors, and the network {}", wanted.len()));
    }
    let is_own = wanted.iter().all(|wanted| wanted.counts || dict.get(&wanted.name).is_some());
    let names = if is_own { own_names(dict, wanted) } else { names_by_layer(dict, wanted) };
    let names = names.map_err(|wrong| explain(wrong, dict, wanted, is_own))?;
    let value = |(wanted, name): (&Wanted, &Option<String>)| {
        let found = name.as_ref().and_then(|name| dict.get(name));
        let value = match found {
            Some(value) if wanted.counts => {
                Value { shape: wanted.shape.clone(), values: value.values.clone() }
            }
            Some(value) => value.clone(),
            None => Value { shape: wanted.shape.clone(), values: Values::I64(vec![0]) },
        };
        (wanted.name.clone(), value)
    };
    let renamed = |(wanted, name): (&Wanted, &Option<String>)| {
        Some((wanted.name.clone(), name.clone()?)).filter(|_| !is_own)
    };
    Ok(Fitted {
        dict: wanted.iter().zip(&names).map(value).collect(),
        matched: wanted.iter().zip(&names).filter_map(renamed).collect(),
    })
}

/// Whether `value` can be what is wanted; what is wrong else.
fn fits(wanted: &Wanted, value: &Value) -> Result<(), String> {
    let is_whole = matches!(value.values, Values::I64(_));
    if wanted.counts && value.values.len() == 1 {
        Ok(())
    } else if value.shape != wanted.shape {
        Err(format!("is {}, the network has {}", value.shape, wanted.shape))
    } else if is_whole && !wanted.counts {
        Err("holds whole numbers, as quantized models do; save the one of floats".into())
    } else {
        Ok(())
    }
}

/// The names of `wanted`, which the file has.
fn own_names(dict: &StateDict, wanted: &[Wanted]) -> Result<Vec<Option<String>>, Vec<String>> {
    let mut wrong = Vec::new();
    let mut names = Vec::new();
    for wanted in wanted {
        let found = dict.get(&wanted.name);
        if let Some(Err(why)) = found.map(|value| fits(wanted, value)) {
            wrong.push(format!("{} {why}", wanted.name));
        }
        names.push(found.map(|_| wanted.name.clone()));
    }
    for (name, value) in dict.iter() {
        if !wanted.iter().any(|wanted| wanted.name == name) {
            wrong.push(format!("{name} {} is unexpected", value.shape));
        }
    }
    if wrong.is_empty() { Ok(names) } else { Err(wrong) }
}

/// The names of a file whose layers are called otherwise.
fn names_by_layer(dict: &StateDict, wanted: &[Wanted]) -> Result<Vec<Option<String>>, Vec<String>> {
    let mut rest = layers(dict);
    let (mut names, mut wrong) = (Vec::new(), Vec::new());
    for layer in wanted.chunk_by(|a, b| split(&a.name).0 == split(&b.name).0) {
        match rest.iter().position(|candidate| is_layer(layer, candidate)) {
            Some(at) => {
                let found = rest.remove(at);
                names.extend(layer.iter().map(|wanted| {
                    let name = split(&wanted.name).1;
                    let found = found.values.iter().find(|(known, ..)| *known == name);
                    found.map(|(_, key, _)| (*key).to_owned())
                }));
            }
            None => {
                wrong.extend(layer.iter().filter(|wanted| !wanted.counts).filter_map(|wanted| {
                    let Wanted { name, shape, .. } = wanted;
                    match dict.get(name).map(|value| fits(wanted, value)) {
                        None => Some(format!("{name} {shape} is missing")),
                        Some(fits) => fits.err().map(|why| format!("{name} {why}")),
                    }
                }))
            }
        }
    }
    // Those under a name of the network were told of.
    let extra = rest.iter().flat_map(|layer| &layer.values);
    let extra = extra.filter(|(_, key, _)| !wanted.iter().any(|wanted| wanted.name == *key));
    wrong.extend(extra.map(|(_, key, value)| format!("{key} {} is unexpected", value.shape)));
    if wrong.is_empty() { Ok(names) } else { Err(wrong) }
}

/// Whether `candidate` has what a layer of the network has, and nothing else.
fn is_layer(layer: &[Wanted], candidate: &Layer<'_>) -> bool {
    let has = |wanted: &Wanted| {
        let name = split(&wanted.name).1;
        let found = candidate.values.iter().find(|(known, ..)| *known == name);
        found.map_or(wanted.counts, |(_, _, value)| fits(wanted, value).is_ok())
    };
    let is_known = |(name, ..): &(&str, &str, &Value)| {
        layer.iter().any(|wanted| split(&wanted.name).1 == *name)
    };
    layer.iter().all(has) && candidate.values.iter().all(is_known)
}

fn explain(mut wrong: Vec<String>, dict: &StateDict, wanted: &[Wanted], is_own: bool) -> String {
    let more = wrong.len().saturating_sub(SHOWN);
    wrong.truncate(SHOWN);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    let mut message = format!("the values are of another model: {}", wrong.join("; "));
    if !is_own {
        let shown = |keys: Vec<String>| match keys.len() {
            0..=SHOWN => keys.join(", "),
            _ => format!("{}, …", keys[..SHOWN].join(", ")),
        };
        let file =
            shown(dict.iter().map(|(key, value)| format!("{key} {}", value.shape)).collect());
        let network = wanted.iter().map(|wanted| format!("{} {}", wanted.name, wanted.shape));
        let network = shown(network.collect());
        message += &format!(
            ". The file's keys begin: {file}. The network's: {network}. Where the layers are the \
             same and only their keys are not, rename them in Python: \
             torch.save(dict(zip(NETWORKS_KEYS, state_dict.values())), \"renamed.pth\")"
        );
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(shape: &[usize]) -> Value {
        let shape = Shape::from(shape);
        Value { values: Values::F32(vec![0.5; shape.numel()]), shape }
    }

    fn wanted(keys: &[(&str, &[usize])]) -> Vec<Wanted> {
        let wanted = |(name, shape): &(&str, &[usize])| Wanted {
            name: (*name).into(),
            shape: Shape::from(*shape),
            counts: name.ends_with("tracked"),
        };
        keys.iter().map(wanted).collect()
    }

    fn dict(keys: &[(&str, &[usize])]) -> StateDict {
        keys.iter().map(|(name, shape)| ((*name).into(), value(shape))).collect()
    }

    const NETWORK: [(&str, &[usize]); 6] = [
        ("0.weight", &[2, 2]),
        ("0.bias", &[2]),
        ("1.weight", &[2, 2]),
        ("1.bias", &[2]),
        ("2.bias", &[2]),
        ("2.tracked", &[]),
    ];

    #[test]
    fn numbers_in_keys_count_as_numbers() {
        let mut keys = ["10.bias", "2.model.11.bias", "2.model.2.bias", "2.bias", "a.1", "a"];
        keys.sort_by(|a, b| natural(a, b));
        assert_eq!(keys, ["2.bias", "2.model.2.bias", "2.model.11.bias", "10.bias", "a", "a.1"]);
    }

    #[test]
    fn keys_have_one_order_whatever_is_in_them() {
        let mut keys = ["2", "1a", "10", "1.9", "00001", "0000000001.5", "1", "", "a.", ".a", "+2"];
        keys.sort_by(|a, b| natural(a, b));
        for (i, a) in keys.iter().enumerate() {
            for (j, b) in keys.iter().enumerate() {
                assert_eq!(natural(a, b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn layers_of_the_same_shapes_are_taken_in_order() {
        let file = dict(&[
            ("net.first.weight", &[2, 2]),
            ("net.first.bias", &[2]),
            ("net.second.bias", &[2]),
            ("net.second.weight", &[2, 2]),
            ("norm.bias", &[2]),
        ]);
        let fitted = fit(&file, &wanted(&NETWORK)).unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            fitted.matched,
            [
                pair("0.weight", "net.first.weight"),
                pair("0.bias", "net.first.bias"),
                pair("1.weight", "net.second.weight"),
                pair("1.bias", "net.second.bias"),
                pair("2.bias", "norm.bias"),
            ]
        );
        let count = fitted.dict.get("2.tracked").unwrap();
        assert_eq!((count.shape.rank(), &count.values), (0, &Values::I64(vec![0])));
    }

    #[test]
    fn a_layer_too_many_or_of_another_shape_is_refused_with_both_sides() {
        let mut keys = vec![
            ("a.weight", &[2_usize, 2][..]),
            ("a.bias", &[2]),
            ("b.weight", &[2, 2]),
            ("b.bias", &[2]),
            ("c.bias", &[2]),
        ];
        assert!(fit(&dict(&keys), &wanted(&NETWORK)).is_ok());
        keys.push(("d.bias", &[2]));
        let message = fit(&dict(&keys), &wanted(&NETWORK)).unwrap_err();
        assert!(message.contains("d.bias [2] is unexpected"), "{message}");
        keys.pop();
        keys[2].1 = &[2, 3];
        let message = fit(&dict(&keys), &wanted(&NETWORK)).unwrap_err();
        for part in [
            "of another model: 1.weight [2, 2] is missing",
            "b.weight [2, 3] is unexpected",
            "The file's keys begin: a.weight [2, 2], a.bias [2], b.weight [2, 3], …",
            "The network's: 0.weight [2, 2]",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn whole_numbers_are_no_weights() {
        let mut file: Vec<(String, Value)> =
            dict(&NETWORK).iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        file[0].1.values = Values::I64(vec![1; 4]);
        let message = fit(&file.into_iter().collect(), &wanted(&NETWORK)).unwrap_err();
        assert!(message.contains("0.weight holds whole numbers"), "{message}");
    }
}
