//! iceoryx2: samples in shared memory, and events beside them for those who sleep.

use crate::link::{Link, Shape, answer};
use iceoryx2::port::{listener::Listener, notifier::Notifier, publisher::Publisher, subscriber::Subscriber};
use iceoryx2::prelude::{BackpressureStrategy, LogLevel, Node, NodeBuilder, ipc::Service, set_log_level};
use procshare::Process;
use std::hint::spin_loop;

pub struct Iceoryx2 {
    publisher: Publisher<Service, [u8], ()>,
    subscriber: Subscriber<Service, [u8], ()>,
    /// Wakes the other end, unless both poll.
    notifier: Option<Notifier<Service>>,
    listener: Listener<Service>,
    _node: Node<Service>,
}

impl Iceoryx2 {
    fn new(name: &str, [sending, receiving]: [&str; 2], shape: Shape) -> Self {
        set_log_level(LogLevel::Error);
        let node = NodeBuilder::new().create::<Service>().unwrap();
        let service = |way: &str| node.service_builder(&format!("{name}/{way}").as_str().try_into().unwrap());
        let samples = |way: &str| {
            let builder = service(way).publish_subscribe::<[u8]>().enable_safe_overflow(false);
            let builder = builder.subscriber_max_buffer_size(shape.places());
            builder.max_publishers(1).max_subscribers(1).open_or_create().unwrap()
        };
        let event = |way: &str| service(way).event().open_or_create().unwrap();
        let (outgoing, incoming) = (samples(sending), samples(receiving));
        let publisher = outgoing.publisher_builder().initial_max_slice_len(shape.bytes);
        let publisher = publisher.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
        Iceoryx2 {
            publisher: publisher.create().unwrap(),
            subscriber: incoming.subscriber_builder().create().unwrap(),
            notifier: (!shape.busy).then(|| event(sending).notifier_builder().create().unwrap()),
            listener: event(receiving).listener_builder().create().unwrap(),
            _node: node,
        }
    }
}

impl Link for Iceoryx2 {
    fn start(shape: Shape) -> (Self, Process<()>) {
        let name = format!("procshare-rivals/{}", std::process::id());
        let link = Self::new(&name, ["there", "back"], shape);
        let run = |name: String, shape| answer(Iceoryx2::new(&name, ["back", "there"], shape), shape);
        let child = Process::builder().daemon(true).spawn(run, (name, shape)).unwrap();
        (link, child)
    }

    fn send(&mut self, message: &mut Vec<u8>) {
        let sample = self.publisher.loan_slice_uninit(message.len()).unwrap();
        assert_eq!(sample.write_from_slice(message).send(), Ok(1));
        if let Some(notifier) = &self.notifier {
            notifier.notify().unwrap();
        }
    }

    fn receive(&mut self, busy: bool, message: &mut Vec<u8>) {
        loop {
            if let Some(sample) = self.subscriber.receive().unwrap() {
                return message.copy_from_slice(&sample);
            }
            if busy {
                spin_loop();
            } else {
                self.listener.blocking_wait(|_| ()).unwrap();
            }
        }
    }
}
