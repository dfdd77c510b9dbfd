package command

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
)

// BenchmarkConvert converts the image of FASTIMAGE_BENCH_IMAGE (RAW; else the
// small disk of testdata) from several formats to ZVHD2, and has qemu-img make its
// nearest thing, a QCOW2 compressed with zstd, from the same file in the same run.
// It reports how many times as fast the command is, its processor time
// in parts of qemu-img's, how many processors it kept busy, and its peak memory.
func BenchmarkConvert(b *testing.B) {
	raw := disk
	if name := os.Getenv("FASTIMAGE_BENCH_IMAGE"); name != "" {
		raw = name
	}
	info, err := os.Stat(raw)
	require.NoError(b, err)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"qcow2", []string{"-O", "qcow2"}},
		{"qcow2-zlib", []string{"-c", "-O", "qcow2"}},
		{"qcow2-zstd", []string{"-c", "-O", "qcow2", "-o", "compression_type=zstd"}},
		{"vmdk-stream", []string{"-O", "vmdk", "-o", "subformat=streamOptimized"}},
		{"vhdx", []string{"-O", "vhdx"}},
	} {
		b.Run("from="+c.name, func(b *testing.B) {
			dir := b.TempDir()
			image := filepath.Join(dir, "image")
			qemutest.Tool(b, dir, "qemu-img", append(append([]string{"convert", "-f", "raw", "-m", "8", "-W"}, c.args...), absolute(b, raw), image)...)
			b.SetBytes(info.Size())
			b.ResetTimer()
			benchConvert(b, dir, image)
		})
	}
}

func benchConvert(b *testing.B, dir, image string) {
	var ours, theirs, busy, qemuBusy time.Duration
	var peak int64
	for range b.N {
		start := time.Now()
		own := child(b, "convert", "-q", "-f", image, filepath.Join(dir, "out.zvhd2"))
		peak = max(peak, measured(b, own))
		ours += time.Since(start)
		busy += own.ProcessState.UserTime() + own.ProcessState.SystemTime()
		b.StopTimer()
		start = time.Now()
		cmd := exec.Command("qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "-m", "8", "-W", image, filepath.Join(dir, "out.qcow2"))
		measured(b, cmd)
		theirs += time.Since(start)
		qemuBusy += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		b.StartTimer()
	}
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "times-qemu")
	b.ReportMetric(busy.Seconds()/qemuBusy.Seconds(), "of-qemu-cpu")
	b.ReportMetric(busy.Seconds()/ours.Seconds(), "cpus")
	reportPeak(b, peak, "peak-MiB")
}

// reportPeak leaves out what is not known.
func reportPeak(b *testing.B, bytes int64, unit string) {
	b.Helper()
	if bytes > 0 {
		b.ReportMetric(float64(bytes)/(1<<20), unit)
	}
}

// measured runs a command and returns its peak of memory in bytes, 0 where there
// is no /proc. The peak that Wait tells includes the memory of this process from
// before the child became another program.
func measured(t testing.TB, cmd *exec.Cmd) (peak int64) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &out
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			peak = max(peak, highWater(cmd.Process.Pid))
			select {
			case <-ended:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	err := cmd.Wait()
	close(ended)
	watch.Wait()
	require.NoError(t, err, "%s: %s", cmd.Path, out.String())
	return peak
}

func highWater(pid int) (bytes int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0 // it has ended, or there is no such thing
	}
	_, text, _ := strings.Cut(string(status), "VmHWM:")
	_, _ = fmt.Sscan(text, &bytes)
	return bytes << 10
}

// child is the command as a process of its own.
func child(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

func absolute(t testing.TB, name string) string {
	t.Helper()
	name, err := filepath.Abs(name)
	require.NoError(t, err)
	return name
}
