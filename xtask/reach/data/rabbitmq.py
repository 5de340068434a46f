"""Publishes small messages, each confirmed, and takes them again, on four connections for $TIME seconds."""

import multiprocessing
import os
import time

import pika


def work(number, done):
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1"))
    channel = connection.channel()
    name = channel.queue_declare("", exclusive=True).method.queue
    channel.confirm_delivery()
    end, count = time.monotonic() + int(os.environ["TIME"]), 0
    while time.monotonic() < end:
        channel.basic_publish("", name, b"x" * 200)
        method, _, body = channel.basic_get(name, auto_ack=True)
        assert method is None or body == b"x" * 200
        count += 1
    connection.close()
    done.put(count)


if __name__ == "__main__":
    done = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=work, args=(number, done)) for number in range(4)]
    for worker in workers:
        worker.start()
    total = sum(done.get() for _ in workers)
    for worker in workers:
        worker.join()
    print(f"rate {total / int(os.environ['TIME']):.1f}")
