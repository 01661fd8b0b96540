# Hashes, sorting, regular expressions, string building, pack, closures; from one seed.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);

my $seed = shift;
my $state = $seed * 2654435761 % 4294967296;
sub rnd { $state = ($state * 1664525 + 1013904223) % 4294967296; return $state >> 8; }

my %h;
for my $i (1 .. 60000) {
    my $k = sprintf "%05x", rnd() % 50000;
    $h{$k} += $i;
    delete $h{ sprintf "%05x", rnd() % 50000 } if $i % 3 == 0;
}
print sha256_hex(join ",", map { "$_=$h{$_}" } sort keys %h), "\n";
my @words = map { join "", map { chr(97 + rnd() % 26) } 1 .. 3 + rnd() % 9 } 1 .. 20000;
my $text = join " ", @words;
my ($vowels, %first) = (0);
$vowels++ while $text =~ /[aeiou]{2,}/g;
$first{$1}++ while $text =~ /\b(\w)\w*\1\b/g;
print "$vowels ", join(",", map { "$_$first{$_}" } sort keys %first), "\n";
(my $t = $text) =~ s/(\w+) (\w+)/$2 . reverse($1) . length($1)/ge;
print sha256_hex($t), "\n";
my @sorted = sort { length($a) <=> length($b) or $b cmp $a } @words;
print sha256_hex("@sorted"), "\n";
my $bin = pack "(NvC)*", map { rnd() & 0x7fffffff, rnd() & 0xffff, rnd() & 0xff } 1 .. 5000;
my $sum = 0;
$sum = ($sum * 31 + $_) % 1000000007 for unpack "(NvC)*", $bin;
my @adders = map { my $n = $_; sub { $_[0] * $n + $seed } } 1 .. 50;
my $x = 1;
for my $round (1 .. 2000) { $x = $adders[$x % 50]->($x) % 999999937; }
my ($e, $died) = (0, 0);
for (1 .. 3000) { eval { die { n => $_ } if $_ % 5 == 0; $e++; 1 } or $died += $@->{n}; }
print "$sum $x $e $died ", sprintf("%.12g", 1 / 3 + $seed / 7), "\n";
