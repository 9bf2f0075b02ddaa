package carrick.authz;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;

/** SASL/PLAIN on a socket without a client: SaslHandshake 1 and SaslAuthenticate 1. */
final class RawLogin {
    private static final short HANDSHAKE = 17;
    private static final short AUTHENTICATE = 36;

    private RawLogin() {
    }

    /** Logs in with the user name and the password of a JAAS line. */
    static void plain(Socket socket, String jaas) throws IOException {
        ByteArrayOutputStream mechanism = new ByteArrayOutputStream();
        new DataOutputStream(mechanism).writeUTF("PLAIN");
        exchange(socket, HANDSHAKE, 0, mechanism.toByteArray());
        byte[] token = ("\0" + option(jaas, "username") + "\0" + option(jaas, "password")).getBytes(StandardCharsets.UTF_8);
        ByteArrayOutputStream sized = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(sized);
        out.writeInt(token.length);
        out.write(token);
        exchange(socket, AUTHENTICATE, 1, sized.toByteArray());
    }

    private static String option(String jaas, String name) {
        return jaas.replaceAll(".* " + name + "=\"([^\"]*)\".*", "$1");
    }

    private static void exchange(Socket socket, short api, int correlation, byte[] body) throws IOException {
        ByteArrayOutputStream frame = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(frame);
        out.writeShort(api);
        out.writeShort(1);
        out.writeInt(correlation);
        // No client id.
        out.writeShort(-1);
        out.write(body);
        DataOutputStream to = new DataOutputStream(socket.getOutputStream());
        to.writeInt(frame.size());
        frame.writeTo(to);
        to.flush();
        DataInputStream from = new DataInputStream(socket.getInputStream());
        byte[] answer = new byte[from.readInt()];
        from.readFully(answer);
        DataInputStream in = new DataInputStream(new ByteArrayInputStream(answer));
        in.readInt();
        short error = in.readShort();
        if (error != 0) throw new IOException("API " + api + " answered error " + error);
    }
}
