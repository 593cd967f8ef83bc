//! Threads that share a device: whoever computes, and whoever else does, the bits are the same.

use crate::common;
use crate::on_every_device;

use common::device::TestDevice;
use common::host::bits;
use common::models::{Batch, narrow, training_bits};
use signet::data::{DataLoader, synthetic};
use signet::nn::{Forward, Sequential};
use signet::optim::{Adam, Sgd};
use signet::train::{Config, Trainer};
use signet::{Arena, Device, SavedTensor, Tensor, no_grad};
use std::thread;

on_every_device! {
    threads_that_train_at_once_train_as_alone,
    a_model_answers_alike_from_any_thread,
    a_graph_goes_from_thread_to_thread,
    no_grad_is_a_threads_own,
    nothing_of_another_thread_gets_into_a_captured_step,
}

#[test]
fn what_a_program_holds_goes_to_other_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Device>();
    shared::<Tensor>();
    shared::<SavedTensor>();
    shared::<Arena>();
    shared::<Sequential>();
    shared::<Adam>();
    shared::<Sgd>();
    shared::<DataLoader>();
    sent::<Trainer>();
}

fn threads_that_train_at_once_train_as_alone(on: TestDevice) {
    let device = on.open();
    let train = |seed| training_bits::<f32>(&device, seed, narrow([0.2, 0.3]), 3, 4);
    let alone = [1, 2].map(train);
    let together = thread::scope(|scope| {
        [1, 2].map(|seed| scope.spawn(move || train(seed))).map(|thread| thread.join().unwrap())
    });
    assert!(alone == together);
}

fn a_model_answers_alike_from_any_thread(on: TestDevice) {
    let device = on.open();
    let model: Sequential = Sequential::new(&device, 3, narrow([0.2, 0.3])).unwrap();
    model.eval();
    let pixels: Tensor = Batch::random(3, 5).pixels.on(&device);
    let answer = || bits(&no_grad(|| model.forward(&pixels)).unwrap());
    let here = answer();
    thread::scope(|scope| {
        for thread in [(); 3].map(|()| scope.spawn(answer)) {
            assert_eq!(thread.join().unwrap(), here);
        }
    });
}

/// Made on one thread, walked on another, looked at on a third.
fn a_graph_goes_from_thread_to_thread(on: TestDevice) {
    let device = on.open();
    let x = Tensor::from_slice(&device, &[2.0_f32, 3.0], [2]).unwrap().requires_grad(true).unwrap();
    let leaf = x.clone();
    let y = thread::spawn(move || leaf.mul(&leaf).unwrap().sum().unwrap()).join().unwrap();
    thread::spawn(move || y.backward().unwrap()).join().unwrap();
    assert_eq!(x.grad().unwrap().unwrap().to_vec().unwrap(), [4.0, 6.0]);
}

fn no_grad_is_a_threads_own(on: TestDevice) {
    let device = on.open();
    let x = Tensor::from_slice(&device, &[2.0_f32], [1]).unwrap().requires_grad(true).unwrap();
    no_grad(|| {
        let other = thread::scope(|scope| scope.spawn(|| x.mul(&x).unwrap()).join().unwrap());
        assert!(other.needs_grad() && !x.mul(&x).unwrap().needs_grad());
    });
}

/// One thread's steps are captured as graphs and replayed while another computes on the same device.
fn nothing_of_another_thread_gets_into_a_captured_step(on: TestDevice) {
    let device = on.open();
    let train = || {
        let config = Config { batch_size: 4, epochs: 1, ..Config::default() };
        let mut trainer = Trainer::new(&device, config, &synthetic(3, 22, 5)).unwrap();
        trainer.run_epoch(|_| true).unwrap();
        let metrics = trainer.history()[0];
        (metrics.train_loss, metrics.valid_loss, trainer.state().unwrap().model)
    };
    let alone = train();
    let x = Tensor::from_slice(&device, &[1.0_f32; 64], [8, 8]).unwrap();
    let product = || x.matmul(&x).unwrap().sum().unwrap().item().unwrap();
    thread::scope(|scope| {
        let training = scope.spawn(train);
        while !training.is_finished() {
            assert_eq!(product(), 512.0);
        }
        assert!(training.join().unwrap() == alone);
    });
}
