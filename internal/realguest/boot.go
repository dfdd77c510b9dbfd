package realguest

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Observation is what became of a guest.
type Observation struct {
	Boots   bool          // it asked for a login
	Network bool          // it got an address by DHCP
	Why     string        // the address, or the line of the console that gave it away
	Took    time.Duration // until that was known
	Console []byte        `json:"-"`
}

// How long a guest may take, on a machine that has much else to do: to be up or known to be
// lost, and until its boot loader shows. A BIOS that jumps into a sector without code says
// nothing more.
const (
	patience       = 10 * time.Minute
	loaderPatience = 2 * time.Minute
)

var (
	errTooLong  = errors.New("neither up nor lost in time")
	errNoLoader = errors.New("no boot loader showed")
	errSettled  = errors.New("the console has shown enough")
)

// failures are what the console shows of a guest that will not boot.
var failures = regexp.MustCompile(`ALERT! |\(initramfs\)|Kernel panic|grub rescue>|grub> |you need to load the kernel first` +
	`|[Ee]mergency mode|dracut:/#|No bootable device|BdsDxe: No bootable option|UEFI Interactive Shell|Boot failed: not a bootable disk`)

var (
	login   = regexp.MustCompile(`(?m)^guest login: `)
	address = regexp.MustCompile(`realguest: address ([0-9.]+|none)\.`)
)

// Boot starts a disk and watches its console until the guest is up, has failed, or takes
// too long. The disk stays as it is.
func Boot(t testing.TB, disk string, firmware Firmware) Observation {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	cmd := exec.CommandContext(ctx, "nice", append([]string{"-n", "10", "qemu-system-x86_64"}, machine(t, disk, firmware)...)...)
	defer time.AfterFunc(patience, func() { cancel(errTooLong) }).Stop()
	c := &console{cancel: cancel, loader: time.AfterFunc(loaderPatience, func() { cancel(errNoLoader) })}
	cmd.Stdout, cmd.Stderr = c, c
	start := time.Now()
	err := cmd.Run()
	require.Error(t, ctx.Err(), "QEMU ended by itself: %v\n%s", err, c.seen.Console)
	c.seen.Took = time.Since(start)
	if cause := context.Cause(ctx); cause != errSettled {
		c.seen.Why = cause.Error()
	}
	return c.seen
}

// console reads what a guest shows, until that is enough.
type console struct {
	seen   Observation
	loader *time.Timer
	cancel context.CancelCauseFunc
}

func (c *console) Write(p []byte) (int, error) {
	c.seen.Console = append(c.seen.Console, p...)
	if bytes.Contains(c.seen.Console, []byte("Welcome to GRUB")) {
		c.loader.Stop()
	}
	if c.seen.judge() {
		c.cancel(errSettled)
	}
	return len(p), nil
}

// machine is the command line of QEMU for a server with one disk and one network card.
func machine(t testing.TB, disk string, firmware Firmware) []string {
	t.Helper()
	args := []string{
		"-machine", "pc,graphics=off", "-accel", "tcg", "-cpu", "qemu64,-svm", "-smp", "2", "-m", "1024", "-no-reboot",
		"-nodefaults", "-display", "none", "-serial", "stdio", "-monitor", "none",
		"-drive", "if=none,id=disk,format=raw,snapshot=on,file=" + disk,
		"-device", "virtio-blk-pci,drive=disk,bootindex=0,addr=4",
		"-netdev", "user,id=net,restrict=on,net=10.77.0.0/24,dhcpstart=10.77.0.40",
		"-device", "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:5a:1a:d0,addr=3",
	}
	if firmware != UEFI {
		return args
	}
	const code, vars = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
	own := filepath.Join(t.TempDir(), "vars.fd")
	run(t, "", "cp", vars, own)
	return append(args,
		"-drive", "if=pflash,format=raw,readonly=on,file="+code,
		"-drive", "if=pflash,format=raw,file="+own)
}

// escapes are how terminals move the cursor and change colours.
var escapes = regexp.MustCompile(`\x1b\[[0-9;?=]*[A-Za-z]|\x1b[c()78][0B]?|\r`)

// judge reports whether the console has shown enough.
func (o *Observation) judge() bool {
	text := escapes.ReplaceAll(o.Console, nil)
	o.Boots = login.Match(text)
	a := address.FindSubmatch(text)
	if a != nil {
		o.Why = "address " + string(a[1])
		o.Network = !bytes.Equal(a[1], []byte("none"))
	}
	if a != nil && o.Boots {
		return true
	}
	if f := failures.Find(text); f != nil && !o.Boots {
		o.Why = string(bytes.TrimSpace(line(text, f)))
		return true
	}
	return false
}

// line is the line of a text that has a passage of it.
func line(text, passage []byte) []byte {
	at := bytes.Index(text, passage)
	start := bytes.LastIndexByte(text[:at], '\n') + 1
	if end := bytes.IndexByte(text[at:], '\n'); end > 0 {
		return text[start : at+end]
	}
	return text[start:]
}
