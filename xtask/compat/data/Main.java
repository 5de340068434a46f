// Prints facts. Launched from source: `java Main.java`.

import com.sun.net.httpserver.HttpServer;
import java.io.*;
import java.net.*;
import java.net.http.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.*;

public class Main {
    static synchronized void fact(String name, Object value) {
        System.out.println(name + "\t" + String.valueOf(value).replace('\n', ' '));
    }

    static byte[] bytes(int size, long seed) {
        byte[] out = new byte[size];
        new Random(seed).nextBytes(out);
        return out;
    }

    static String digest(byte[] data) throws Exception {
        byte[] sum = MessageDigest.getInstance("SHA-256").digest(data);
        return HexFormat.of().formatHex(sum, 0, 8);
    }

    interface Body { void run() throws Exception; }

    static void part(String name, Body body) {
        try {
            body.run();
        } catch (Throwable error) {
            fact(name + " fails", error);
        }
    }

    static Thread echo(ServerSocket listener) {
        Thread thread = new Thread(() -> {
            while (true) {
                try {
                    Socket link = listener.accept();
                    Thread one = new Thread(() -> {
                        try (link) {
                            DataInputStream in = new DataInputStream(new BufferedInputStream(link.getInputStream()));
                            DataOutputStream out = new DataOutputStream(new BufferedOutputStream(link.getOutputStream()));
                            while (true) {
                                byte[] data = new byte[in.readInt()];
                                in.readFully(data);
                                out.writeInt(data.length);
                                out.write(data);
                                out.flush();
                            }
                        } catch (EOFException end) {
                            // The client has closed.
                        } catch (IOException error) {
                            fact("echo server", error);
                        }
                    });
                    one.setDaemon(true);
                    one.start();
                } catch (IOException closed) {
                    return;
                }
            }
        });
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    static void blocking(int number, int port, int timeout) throws Exception {
        int wrong = 0;
        try (Socket link = new Socket("127.0.0.1", port)) {
            link.setSoTimeout(timeout);
            DataInputStream in = new DataInputStream(new BufferedInputStream(link.getInputStream()));
            DataOutputStream out = new DataOutputStream(new BufferedOutputStream(link.getOutputStream()));
            for (int step = 0; step < 3000; step++) {
                byte[] sent = bytes(step % 500 == 499 ? 300_000 : step % 700, step);
                out.writeInt(sent.length);
                out.write(sent);
                out.flush();
                byte[] got = new byte[in.readInt()];
                in.readFully(got);
                wrong += Arrays.equals(sent, got) ? 0 : 1;
            }
            link.shutdownOutput();
            fact("blocking " + number + ", timeout " + timeout, wrong + " wrong, then " + in.read());
        }
    }

    // One thread writes while another reads the same socket.
    static void bothWays(int port) throws Exception {
        try (Socket link = new Socket("127.0.0.1", port)) {
            Thread writer = new Thread(() -> {
                try {
                    DataOutputStream out = new DataOutputStream(link.getOutputStream());
                    for (int step = 0; step < 400; step++) {
                        byte[] data = bytes(20_000, step);
                        out.writeInt(data.length);
                        out.write(data);
                    }
                    link.shutdownOutput();
                } catch (IOException error) {
                    fact("writer", error);
                }
            });
            writer.start();
            byte[] all = link.getInputStream().readAllBytes();
            writer.join();
            fact("both ways", all.length + " " + digest(all));
        }
    }

    static void timeout(ServerSocket quiet) throws Exception {
        try (Socket link = new Socket("127.0.0.1", quiet.getLocalPort()); Socket peer = quiet.accept()) {
            link.setSoTimeout(300);
            try {
                fact("timeout", link.getInputStream().read());
            } catch (SocketTimeoutException error) {
                fact("timeout", error.getMessage());
            }
            peer.getOutputStream().write(65);
            fact("after the timeout", link.getInputStream().read() + " " + link.getInputStream().available());
            // Closing a socket that another thread reads ends the read.
            Thread closer = new Thread(() -> {
                try {
                    Thread.sleep(200);
                    link.close();
                } catch (Exception error) {
                    fact("closer", error);
                }
            });
            link.setSoTimeout(0);
            closer.start();
            try {
                fact("closed while reading", link.getInputStream().read());
            } catch (SocketException error) {
                fact("closed while reading", error.getMessage());
            }
            closer.join();
        }
    }

    static void http() throws Exception {
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 50);
        server.createContext("/", exchange -> {
            byte[] body = exchange.getRequestBody().readAllBytes();
            byte[] answer = body.length > 0 ? body : exchange.getRequestURI().toString().getBytes();
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.setExecutor(Executors.newFixedThreadPool(4, task -> {
            Thread thread = new Thread(task);
            thread.setDaemon(true);
            return thread;
        }));
        server.start();
        URI uri = URI.create("http://127.0.0.1:" + server.getAddress().getPort() + "/path");
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        int wrong = 0;
        for (int step = 0; step < 2000; step++) {
            byte[] sent = bytes(step % 400 == 399 ? 2_000_000 : 1 + step % 900, step);
            HttpRequest request = HttpRequest.newBuilder(uri).POST(HttpRequest.BodyPublishers.ofByteArray(sent)).build();
            wrong += Arrays.equals(sent, client.send(request, HttpResponse.BodyHandlers.ofByteArray()).body()) ? 0 : 1;
        }
        fact("http client", wrong + " wrong");
        wrong = 0;
        for (int step = 0; step < 1500; step++) {
            HttpURLConnection link = (HttpURLConnection) uri.toURL().openConnection();
            byte[] sent = bytes(1 + step % 900, step);
            link.setDoOutput(true);
            link.getOutputStream().write(sent);
            wrong += Arrays.equals(sent, link.getInputStream().readAllBytes()) ? 0 : 1;
        }
        fact("HttpURLConnection", wrong + " wrong");
        server.stop(0);
    }

    // Both ends in one selector, non-blocking.
    static void nio() throws Exception {
        ServerSocketChannel listener = ServerSocketChannel.open().bind(new InetSocketAddress("127.0.0.1", 0));
        SocketChannel one = SocketChannel.open(listener.getLocalAddress());
        SocketChannel two = listener.accept();
        one.configureBlocking(false);
        two.configureBlocking(false);
        Selector selector = Selector.open();
        two.register(selector, SelectionKey.OP_READ);
        SelectionKey key = one.register(selector, SelectionKey.OP_READ);
        int wrong = 0;
        ByteBuffer buffer = ByteBuffer.allocateDirect(65536);
        for (int step = 0; step < 5000; step++) {
            byte[] sent = bytes(1 + step % 3000, step);
            one.write(ByteBuffer.wrap(sent));
            ByteArrayOutputStream got = new ByteArrayOutputStream();
            while (got.size() < sent.length) {
                selector.select(10_000);
                for (SelectionKey ready : selector.selectedKeys()) {
                    buffer.clear();
                    int count = ((SocketChannel) ready.channel()).read(buffer);
                    buffer.flip();
                    if (ready == key) {
                        byte[] part = new byte[count];
                        buffer.get(part);
                        got.write(part);
                    } else {
                        while (buffer.hasRemaining()) two.write(buffer);
                    }
                }
                selector.selectedKeys().clear();
            }
            wrong += Arrays.equals(sent, got.toByteArray()) ? 0 : 1;
        }
        one.close();
        selector.select(10_000);
        buffer.clear();
        fact("nio", wrong + " wrong, then " + two.read(buffer));
    }

    public static void main(String[] arguments) throws Exception {
        ServerSocket listener = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
        echo(listener);
        int port = listener.getLocalPort();
        List<Thread> threads = new ArrayList<>();
        for (int number = 0; number < 6; number++) {
            int own = number;
            Thread thread = new Thread(() -> part("blocking " + own, () -> blocking(own, port, own % 2 * 30_000)));
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) thread.join();
        part("both ways", () -> bothWays(port));
        part("timeout", () -> timeout(new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"))));
        part("nio", Main::nio);
        part("http", Main::http);
        System.exit(0);
    }
}
