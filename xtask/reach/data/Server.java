import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** A server of the JDK alone, with a few threads. */
public class Server {
    public static void main(String[] arguments) throws Exception {
        byte[] body = "A short answer.\n".getBytes();
        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 8080), 128);
        server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }
}
