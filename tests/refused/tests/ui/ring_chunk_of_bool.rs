//! A chunk is used in place, so a corrupted byte must still be a value of the ring; one by one they may be passed.

fn main() {
    let (mut producer, mut consumer) = procshare::ring::<bool>(4).unwrap();
    producer.push(true).unwrap();
    assert!(consumer.pop().unwrap());
    let _ = producer.write_chunk(1);
    let _ = consumer.read_chunk(1);
}
