# Perl at work: script.pl COUNT. Hashes, regular expressions, sorting, string building.
use strict;
use warnings;

my $total = 0;
for my $round (1 .. $ARGV[0]) {
    my (%seen, @lines);
    for my $i (1 .. 400) {
        push @lines, sprintf "user%03d;%d;item-%s;%s", $i * 7 % 101, $i * $round, chr(97 + $i % 26) x 3, "x" x ($i % 9);
    }
    for (@lines) {
        next unless /^user(\d+);(\d+);item-(\w+);(x*)$/;
        $seen{$3}{$1} += $2 + length $4;
        (my $t = $_) =~ s/([aeiou])/<$1>/g;
        $total += () = $t =~ /</g;
    }
    for my $k (sort keys %seen) {
        my @best = sort { $seen{$k}{$b} <=> $seen{$k}{$a} || $a cmp $b } keys %{ $seen{$k} };
        $total = ($total * 31 + $seen{$k}{ $best[0] } + @best) % 1000000007;
    }
    $total += unpack "%32C*", join "|", map { scalar reverse } @lines;
}
print "$total\n";
