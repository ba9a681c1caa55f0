# UPS::Nut of Debian's libups-nut-perl. Arguments: root folder, port.
use strict;
use warnings;
BEGIN { unshift @INC, "$ARGV[0]/debian/usr/share/perl5" }
use UPS::Nut;

sub same { my ($what, $seen, $expected) = @_; die "$what: " . ($seen // 'undef') . "\n" unless ($seen // 'undef') eq $expected }

my $ups = UPS::Nut->new(NAME => 'fine', HOST => '127.0.0.1', PORT => $ARGV[1], USERNAME => 'admin', PASSWORD => 'adminpass', TIMEOUT => 20)
    or die "no connection\n";
same('Status', $ups->Status, 'OL CHRG');
same('GetVar', $ups->GetVar('battery.charge'), '98.0');
my $vars = $ups->ListVar;
same('ListVar', $vars->{'ups.load'}, '23.4');
my $rw = $ups->ListRW;
same('ListRW', join(' ', sort keys %$rw), 'battery.charge.low input.sensitivity ups.delay.start ups.id');
my $cmds = $ups->ListCmd;
same('ListCmd', scalar @$cmds, '5');
my $enum = $ups->ListEnum('input.sensitivity');
same('ListEnum', join(' ', @$enum), 'high medium low');
die 'Set: ' . $ups->Error . "\n" unless $ups->Set('ups.id', 'perl one');
die 'InstCmd: ' . $ups->Error . "\n" unless $ups->InstCmd('beeper.toggle');
die "an unknown command is taken\n" if $ups->InstCmd('no.such');
die 'Master: ' . $ups->Error . "\n" unless $ups->Master;
$ups->Logout;
print "UPS::Nut: fine\n";
