//! The machine that the bytes of a pickle are instructions for: a stack, marks in it, and a memo.
//!
//! Protocols 2 to 5 are known, as Python's `pickletools` describes them, without the instructions that
//! `torch.save` never uses: those in text of protocol 0, persistent ids as text, extension codes
//! and buffers from outside.

use super::globals::{self, Global};
use super::object::{Graph, Id, Object, Storage, Tensor};
use std::collections::HashMap;

/// How many objects a pickle may make; a checkpoint of this network makes some thousand.
const MAX_OBJECTS: usize = 1 << 20;

/// How many arguments a call may have, and how many dimensions a tensor. Lists may be used more than once:
/// without an end of their own, copies of them would outgrow the file.
const MAX_ARGUMENTS: usize = 16;

/// How long the key of a storage may be.
const MAX_KEY: usize = 256;

/// Runs the pickle at the start of `bytes`; also says how long it is.
///
/// # Errors
/// What is wrong, and at which of its bytes.
pub(super) fn run(bytes: &[u8]) -> Result<(Graph, usize), String> {
    let mut machine = Machine { bytes, ..Machine::default() };
    loop {
        let start = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => {
                return Ok((Graph { objects: machine.objects, root }, machine.at));
            }
            Err(what) => return Err(format!("byte {start} of its pickle: {what}")),
        }
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object>,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// How many entries were copied from lists into dicts.
    copied: usize,
}

const SHORT: &str = "it ends too early; was it copied whole?";
const UNDERFLOW: &str = "an instruction asks for more than there is; the file is damaged";

impl<'a> Machine<'a> {
    /// One instruction; the result where it was the last.
    fn step(&mut self) -> Result<Option<Id>, String> {
        let code = self.take::<1>()?[0];
        match code {
            // PROTO, FRAME, STOP
            0x80 => {
                let [version] = self.take()?;
                if version > 5 {
                    return Err(format!("protocol {version} is not known; save with torch.save"));
                }
            }
            0x95 => _ = self.take::<8>()?,
            b'.' => return Ok(Some(self.pop()?)),
            // MARK, POP, POP_MARK, DUP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.pop_to_mark()?,
            b'2' => {
                let top = *self.stack.last().ok_or(UNDERFLOW)?;
                self.stack.push(top);
            }
            // Constants and numbers.
            b'N' => self.push(Object::None)?,
            0x88 => self.push(Object::Bool(true))?,
            0x89 => self.push(Object::Bool(false))?,
            b'K' => {
                let [byte] = self.take()?;
                self.push(Object::Int(byte.into()))?;
            }
            b'M' => {
                let number = u16::from_le_bytes(self.take()?);
                self.push(Object::Int(number.into()))?;
            }
            b'J' => {
                let number = i32::from_le_bytes(self.take()?);
                self.push(Object::Int(number.into()))?;
            }
            b'G' => {
                self.take::<8>()?;
                self.push(Object::Other)?;
            }
            0x8a | 0x8b => {
                let length = self.length(if code == 0x8a { 1 } else { 4 })?;
                let number = long(self.slice(length)?);
                self.push(number.map_or(Object::Other, Object::Int))?;
            }
            // Text: unicode in three sizes, Python 2's strings in two.
            b'X' | 0x8c | 0x8d | b'U' | b'T' => {
                let size = match code {
                    0x8c | b'U' => 1,
                    0x8d => 8,
                    _ => 4,
                };
                let length = self.length(size)?;
                let text = String::from_utf8_lossy(self.slice(length)?).into_owned();
                self.push(Object::Text(text))?;
            }
            // Bytes.
            b'B' | b'C' | 0x8e => {
                let length = self.length(match code {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                })?;
                self.slice(length)?;
                self.push(Object::Other)?;
            }
            // Collections, empty and of what is on the stack.
            b'}' => self.push(Object::Dict(Vec::new()))?,
            b']' | 0x8f => self.push(Object::List(Vec::new()))?,
            b')' => self.push(Object::Tuple(Vec::new()))?,
            0x85..=0x87 => {
                let items = self.pop_many(usize::from(code - 0x84))?;
                self.push(Object::Tuple(items))?;
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Object::Tuple(items))?;
            }
            b'l' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Object::List(items))?;
            }
            b'd' => {
                let items = pairs(&self.pop_to_mark()?)?;
                self.push(Object::Dict(items))?;
            }
            b'a' => {
                let items = self.pop_many(1)?;
                self.append(items)?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.insert(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(&items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, and back.
            b'q' | b'r' => {
                let key = self.length(if code == b'q' { 1 } else { 4 })?;
                self.remember(key as u64)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' | b'j' => {
                let key = self.length(if code == b'h' { 1 } else { 4 })? as u64;
                let id = *self.memo.get(&key).ok_or("it goes back to what it never kept")?;
                self.stack.push(id);
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?;
            }
            0x93 => {
                let names = self.pop_many(2)?;
                let text = |id: &Id| match &self.objects[*id] {
                    Object::Text(text) => Ok(text.clone()),
                    _ => Err("a name is no text"),
                };
                let (module, name) = (text(&names[0])?, text(&names[1])?);
                self.global(&module, &name)?;
            }
            // REDUCE, NEWOBJ, BUILD, BINPERSID
            b'R' => {
                let [function, arguments] = self.pop_array()?;
                let result = self.call(function, arguments)?;
                self.stack.push(result);
            }
            0x81 => {
                let [class, _arguments] = self.pop_array()?;
                match self.objects[class] {
                    Object::Global(Global::Module) => self.push(Object::Module(None))?,
                    Object::Global(Global::OrderedDict) => self.push(Object::Dict(Vec::new()))?,
                    _ => return Err("it makes an object of what is no class".into()),
                }
            }
            b'b' => {
                let state = self.pop()?;
                self.build(state)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let object = self.persistent(id)?;
                self.push(object)?;
            }
            other => {
                return Err(format!(
                    "instruction {other:#04x} is none that torch.save writes; the file is damaged, \
                     or of another program"
                ));
            }
        }
        Ok(None)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(SHORT)?;
        let slice = &self.bytes[self.at..end];
        self.at = end;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.slice(N)?.try_into().map_err(|_| SHORT.into())
    }

    /// A number of so many bytes.
    fn length(&mut self, size: usize) -> Result<usize, String> {
        let bytes = self.slice(size)?;
        let number = bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        usize::try_from(number).map_err(|_| SHORT.into())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or(SHORT)?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        self.at += end + 1;
        Ok(line)
    }

    fn push(&mut self, object: Object) -> Result<(), String> {
        let id = self.add(object)?;
        self.stack.push(id);
        Ok(())
    }

    fn add(&mut self, object: Object) -> Result<Id, String> {
        if self.objects.len() == MAX_OBJECTS {
            return Err(format!(
                "it makes more than {MAX_OBJECTS} objects: no model of this network"
            ));
        }
        self.objects.push(object);
        Ok(self.objects.len() - 1)
    }

    /// The lowest place on the stack that an instruction may take from.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, String> {
        if self.stack.len() <= self.floor() {
            return Err(UNDERFLOW.into());
        }
        self.stack.pop().ok_or_else(|| UNDERFLOW.into())
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= self.floor());
        Ok(self.stack.split_off(start.ok_or(UNDERFLOW)?))
    }

    fn pop_array<const N: usize>(&mut self) -> Result<[Id; N], String> {
        self.pop_many(N)?.try_into().map_err(|_| UNDERFLOW.into())
    }

    /// What lies above the last mark, which goes.
    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("there is no mark where one is due")?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    /// The object on the top of the stack, which stays.
    fn top(&mut self) -> Result<&mut Object, String> {
        let top = self.stack.last().filter(|_| self.stack.len() > self.floor()).ok_or(UNDERFLOW)?;
        Ok(&mut self.objects[*top])
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        match self.top()? {
            Object::List(list) => list.extend(items),
            _ => return Err("it appends to what is no list".into()),
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Id]) -> Result<(), String> {
        match self.top()? {
            Object::Dict(dict) => dict.extend(pairs(items)?),
            _ => return Err("it sets an item of what is no dict".into()),
        }
        Ok(())
    }

    fn remember(&mut self, key: u64) -> Result<(), String> {
        let top = *self.stack.last().ok_or(UNDERFLOW)?;
        if self.memo.len() == MAX_OBJECTS {
            return Err("it keeps too much".into());
        }
        self.memo.insert(key, top);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        match globals::find(module, name) {
            Some(global) => self.push(Object::Global(global)),
            None => {
                // A name of any length, and with any letters, may stand there.
                let full: String = format!("{module}.{name}").escape_debug().take(120).collect();
                Err(format!(
                    "it names `{full}`, which is not on the list of what is read, and nothing of a \
                     file is ever executed; in Python, save the values alone: \
                     torch.save(model.state_dict(), \"model.pth\")"
                ))
            }
        }
    }

    /// What calling `function` gives; nothing is called.
    fn call(&mut self, function: Id, arguments: Id) -> Result<Id, String> {
        let Object::Global(function) = self.objects[function] else {
            return Err("it calls what is no function".into());
        };
        let arguments = match &self.objects[arguments] {
            Object::Tuple(arguments) if arguments.len() <= MAX_ARGUMENTS => arguments.clone(),
            _ => return Err("it calls a function with what are no arguments".into()),
        };
        self.call_global(function, &arguments)
    }

    fn call_global(&mut self, function: Global, arguments: &[Id]) -> Result<Id, String> {
        let object = |id: &Id| &self.objects[*id];
        let result = match (function, arguments) {
            (Global::OrderedDict, []) => Object::Dict(Vec::new()),
            (Global::OrderedDict, [pairs]) => {
                let entries = self.pairs_of(*pairs)?;
                self.copied += entries.len();
                if self.copied > MAX_OBJECTS {
                    return Err("it copies too much".into());
                }
                Object::Dict(entries)
            }
            (Global::Set, []) => Object::List(Vec::new()),
            (Global::Set | Global::Size, [items])
                if matches!(object(items), Object::List(_) | Object::Tuple(_)) =>
            {
                return Ok(*items);
            }
            (Global::RebuildTensor, [storage, offset, shape, strides, more @ ..]) => {
                self.check_flags(more)?;
                Object::Tensor(self.tensor(*storage, *offset, *shape, *strides)?)
            }
            (Global::RebuildParameter, [tensor, ..])
                if matches!(object(tensor), Object::Tensor(_)) =>
            {
                return Ok(*tensor);
            }
            (Global::RebuildFromType, [inner, class, of, _state]) => {
                match (object(inner), object(class), object(of)) {
                    (
                        Object::Global(inner @ (Global::RebuildTensor | Global::RebuildParameter)),
                        Object::Global(Global::Tensor),
                        Object::Tuple(of),
                    ) if of.len() <= MAX_ARGUMENTS => {
                        let (inner, of) = (*inner, of.clone());
                        return self.call_global(inner, &of);
                    }
                    _ => return Err("a tensor of a kind of its own is made".into()),
                }
            }
            (Global::Ignored, _) => Object::Other,
            _ => return Err(format!("it calls {function:?} with wrong arguments")),
        };
        self.add(result)
    }

    /// The items of a list of pairs.
    fn pairs_of(&self, list: Id) -> Result<Vec<(Id, Id)>, String> {
        let pair = |id: &Id| match &self.objects[*id] {
            Object::Tuple(pair) | Object::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err("an item of a dict is no pair".to_owned()),
        };
        match &self.objects[list] {
            Object::List(list) => list.iter().map(pair).collect(),
            Object::Dict(dict) => Ok(dict.clone()),
            _ => Err("a dict is made of what is no list".into()),
        }
    }

    /// That what follows the first four arguments of a tensor changes none of its values.
    fn check_flags(&self, more: &[Id]) -> Result<(), String> {
        match more.get(2).map(|id| &self.objects[*id]) {
            // Marks of a tensor that is to be negated or conjugated when it is read.
            Some(Object::Dict(flags)) if !flags.is_empty() => {
                Err("a tensor is kept with flags of its own; save a copy: tensor.clone()".into())
            }
            _ => Ok(()),
        }
    }

    fn tensor(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Result<Tensor, String> {
        let Object::Storage(storage) = &self.objects[storage] else {
            return Err("a tensor is of no storage".into());
        };
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err("a tensor has other sizes than strides".into());
        }
        Ok(Tensor { storage: storage.clone(), offset: self.size(offset)?, shape, strides })
    }

    fn size(&self, id: Id) -> Result<usize, String> {
        match self.objects[id] {
            Object::Int(number) => number.try_into().map_err(|_| format!("{number} is no size")),
            _ => Err("a size is no number".into()),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, String> {
        match &self.objects[id] {
            Object::Tuple(ids) | Object::List(ids) if ids.len() <= MAX_ARGUMENTS => {
                ids.iter().map(|id| self.size(*id)).collect()
            }
            _ => Err("a shape is no short tuple".into()),
        }
    }

    /// Sets the state of what is on the top of the stack.
    fn build(&mut self, state: Id) -> Result<(), String> {
        match self.top()? {
            Object::Module(known) => *known = Some(state),
            // Attributes of a dict, such as the versions beside a state dict, and of what is not asked
            // for.
            Object::Dict(_) | Object::Other => {}
            _ => return Err("it sets the state of what has none".into()),
        }
        Ok(())
    }

    /// `("storage", class, key, location, numel, view)`, or, in old files, `("module", class, …)`.
    fn persistent(&self, id: Id) -> Result<Object, String> {
        let wrong = || "it names a storage in a way that torch.save does not".to_owned();
        let Object::Tuple(parts) = &self.objects[id] else { return Err(wrong()) };
        let part = |index: usize| parts.get(index).map(|id| &self.objects[*id]);
        let (kind, class) = (part(0), part(1));
        match (kind, class, part(2)) {
            (Some(Object::Text(kind)), Some(Object::Global(Global::Storage(element))), key)
                if kind == "storage" =>
            {
                let Some(Object::Text(key)) = key else { return Err(wrong()) };
                if key.len() > MAX_KEY {
                    return Err(wrong());
                }
                let numel = self.size(*parts.get(4).ok_or_else(wrong)?)?;
                let (start, numel) = match part(5) {
                    None | Some(Object::None) => (0, numel),
                    // The view's own key, where it begins in the storage, and how long it is.
                    Some(Object::Tuple(view)) if view.len() == 3 => {
                        (self.size(view[1])?, self.size(view[2])?)
                    }
                    Some(_) => return Err(wrong()),
                };
                Ok(Object::Storage(Storage { key: key.clone(), element: *element, numel, start }))
            }
            (Some(Object::Text(kind)), Some(Object::Global(Global::Module)), _)
                if kind == "module" =>
            {
                Ok(Object::Global(Global::Module))
            }
            _ => Err(wrong()),
        }
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    } else {
        Err("a key has no value".into())
    }
}

/// A whole number in two's complement, if it fits.
fn long(bytes: &[u8]) -> Option<i64> {
    let last = *bytes.last()?;
    let fill = if last & 0x80 == 0 { 0 } else { 0xff };
    let mut wide = [fill; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}
