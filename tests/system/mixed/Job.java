// Interpreted, then compiled code: arithmetic, strings, collections, virtual calls, exceptions, threads, garbage. From one seed.
import java.math.BigInteger;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public class Job {
    static long state;
    static int rnd() { state = state * 6364136223846793005L + 1442695040888963407L; return (int) (state >>> 33); }

    interface Shape { double area(); }
    record Square(double a) implements Shape { public double area() { return a * a; } }
    record Rect(double a, double b) implements Shape { public double area() { return a * b; } }
    record Tri(double a, double h) implements Shape { public double area() { return a * h / 2; } }

    static int collatz(long n) { int c = 0; while (n != 1) { n = (n & 1) == 0 ? n / 2 : 3 * n + 1; c++; } return c; }

    static int checked(int i) {
        try {
            if (i % 5 == 0) throw new IllegalStateException("n" + i);
            int[] a = new int[4];
            return a[i & 7] + i / (i % 3);
        } catch (ArrayIndexOutOfBoundsException e) { return 1;
        } catch (ArithmeticException e) { return 2;
        } catch (IllegalStateException e) { return e.getMessage().length(); }
    }

    public static void main(String[] args) throws Exception {
        long seed = Long.parseLong(args[0]);
        state = seed;
        long sum = 0;
        for (int i = 1; i < 150000; i++) sum = sum * 31 + collatz(i + seed);
        System.out.println(sum);
        double d = 0;
        List<Shape> shapes = new ArrayList<>();
        for (int i = 0; i < 3000; i++)
            shapes.add(switch (rnd() % 3) { case 0 -> new Square(i); case 1 -> new Rect(i, rnd() % 9); default -> new Tri(i, 2); });
        for (int k = 0; k < 100; k++) for (Shape s : shapes) d += s.area();
        System.out.println(d);
        TreeMap<String, Integer> map = new TreeMap<>();
        StringBuilder sb = new StringBuilder();
        for (int i = 0; i < 60000; i++) { String k = Integer.toString(rnd() % 5000, 36); map.merge(k, i, Integer::sum); sb.append(k); }
        System.out.println(map.hashCode() + " " + sb.toString().hashCode() + " " + sb.toString().replaceAll("([a-f])(\\d)", "$2$1").hashCode());
        BigInteger b = BigInteger.valueOf(seed + 7), m = BigInteger.ONE.shiftLeft(521).subtract(BigInteger.ONE);
        for (int i = 0; i < 40; i++) b = b.modPow(BigInteger.valueOf(65537 + i), m).multiply(b).add(BigInteger.TEN);
        System.out.println(b.mod(m));
        MessageDigest sha = MessageDigest.getInstance("SHA-256");
        byte[] buf = new byte[1 << 16];
        for (int i = 0; i < 40; i++) { Arrays.fill(buf, (byte) rnd()); sha.update(buf); }
        System.out.println(new BigInteger(1, sha.digest()).toString(16));
        int e = 0;
        for (int i = 0; i < 40000; i++) e += checked(i);
        System.out.println(e);
        ExecutorService pool = Executors.newFixedThreadPool(3);
        List<Future<Long>> fs = new ArrayList<>();
        for (int t = 0; t < 12; t++) { final int n = t; fs.add(pool.submit(() -> {
            long x = n; List<int[]> garbage = new LinkedList<>();
            for (int i = 0; i < 20000; i++) { garbage.add(new int[16 + i % 50]); if (garbage.size() > 300) garbage.remove(0); x = x * 33 + garbage.get(0).length; }
            return x; })); }
        long total = 0;
        for (Future<Long> f : fs) total ^= f.get();
        pool.shutdown();
        System.out.println(total + " " + IntStream.range(0, 200000).mapToLong(i -> (long) i * i % 7919).sum());
    }
}
