//! `signet serve`: a page that reads hands before the webcam, and the same for programs.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;

use super::numbers::whole_in;
use super::predict::caution;
use super::signals::on_signals;
use super::{DeviceArgs, ModelArgs, note, print};
use crate::photo::Crop;
use crate::predict::{Predictor, TrainedModel};
use crate::runs::RunFolder;
use crate::serve::{About, Origin, Server, Stop};
use crate::words;
use signet::{Error, Result};

/// Read hands before the webcam, in a browser
///
/// Prints the address of a page, and answers until Ctrl-C. Programs send the bytes of an image to
/// POST /predict and get what `signet predict --json` prints.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ctrl-C or SIGTERM: requests under way are answered, for 5 seconds at most; \
                        then it ends with exit code 0. A second one ends it at once, with 130."
)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The address to listen on; any but a loopback address lets the whole network in
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,

    /// The port to listen on, 0 for any that is free
    #[arg(long, value_name = "N", default_value_t = 8000)]
    #[arg(value_parser = |text: &str| whole_in::<u16>(text, 0..=65535))]
    port: u16,

    /// The part of each image to look at, where a request does not say [default: auto; none for a
    /// model of `train --data DIR` with a folder of images]
    #[arg(long, value_enum)]
    crop: Option<Crop>,

    /// The address of the page in browsers when a proxy stands before the server, such as
    /// https://hands.example; for several, give it several times
    ///
    /// Then requests for this name are answered, and pages from this address may send images. It is
    /// all that is believed of a proxy: X-Forwarded-Host, X-Forwarded-Proto and Forwarded are not
    /// read, as anyone can write them. It may pass the browser's Host or write its own.
    #[arg(long = "origin", value_name = "URL")]
    origins: Vec<Origin>,

    /// Open the page in the browser
    #[arg(long)]
    open: bool,

    #[command(flatten)]
    device: DeviceArgs,
}

impl Args {
    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// For a model, a device or an address that cannot be used.
    pub fn run(self) -> Result<ExitCode> {
        let model = self.model.open()?;
        let chosen = self.device.choose()?;
        note(format_args!("model: {}", words::path(&model.path)));
        note(format_args!("device: {chosen}"));
        caution(&model);
        let listener = self.listen()?;
        let stop = Stop::default();
        let on_signal = stop.clone();
        let first = move || {
            note(format_args!("stopping"));
            on_signal.stop();
        };
        on_signals(first, || {})?;
        let crop = self.crop.unwrap_or_else(|| Crop::fitting(model.whole_images));
        let about = about(self.model.path(), &model);
        let (device, origins) = (&chosen.device, self.origins);
        let predictor = Predictor::new(device, &model)?;
        let address = listener.local_addr().map_err(Error::io("read", "the address"))?;
        announce(address, &origins, self.open)?;
        let server = Server { listener, about, crop, origins, stop };
        device.install(|| server.run(|image| Ok(predictor.probabilities(&[image])?.concat())))?;
        Ok(ExitCode::SUCCESS)
    }

    fn listen(&self) -> Result<TcpListener> {
        TcpListener::bind((&*self.host, self.port)).map_err(|error| {
            let (name, message) = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    let message = "another program listens there; choose another port, or 0 for any \
                                   that is free";
                    ("--port", message.to_owned())
                }
                std::io::ErrorKind::PermissionDenied => {
                    ("--port", "the system does not allow it; choose one above 1023".to_owned())
                }
                _ => ("--host", format!("{error}; choose 127.0.0.1, or an address of this machine")),
            };
            Error::argument(name, format!("cannot listen on {}:{}: {message}", self.host, self.port))
        })
    }
}

/// What the page says of `model`, which was named by `path`.
fn about(path: &Path, model: &TrainedModel) -> About {
    // A run's folder is called as the run; `runs/asl-1/` and `.` are names of it too.
    let name = path.canonicalize().ok();
    let name = name.as_deref().and_then(Path::file_name);
    let name = name.map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into());
    let data = RunFolder::open(path).and_then(|run| run.record()).ok().map(|record| {
        // Where it lies is nobody's business who may look at the page from elsewhere.
        let place = if record.synthetic { None } else { record.data_source.find(" (") };
        if record.whole_images {
            return "a folder of images".to_owned();
        }
        record.data_source[..place.unwrap_or(record.data_source.len())].to_owned()
    });
    About { data, synthetic: model.synthetic, ..About::new(name, &model.classes) }
}

/// Prints where the page is, and shows it to who asked for that.
fn announce(address: SocketAddr, origins: &[Origin], open: bool) -> Result<()> {
    let ip = address.ip();
    if !ip.is_loopback() {
        note(format_args!(
            "notice: anyone on the network can use this; with --host 127.0.0.1 only this machine can"
        ));
    }
    // All addresses of this machine: nobody can go to that one, but the loopback is one of them.
    let shown = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip => ip,
    };
    let url = format!("http://{}/", SocketAddr::new(shown, address.port()));
    print(&url)?;
    for origin in origins {
        note(format_args!("behind a proxy: {origin}/"));
    }
    match open.then(|| open::that_detached(&url)) {
        Some(Ok(())) => note(format_args!("the page opens in the browser; Ctrl-C stops")),
        Some(Err(error)) => note(format_args!(
            "notice: no browser can be opened ({error}); open this page in one; Ctrl-C stops"
        )),
        None => note(format_args!("open this page in a browser, or use --open; Ctrl-C stops")),
    }
    Ok(())
}
