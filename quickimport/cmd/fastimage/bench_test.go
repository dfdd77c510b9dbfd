package main

import (
	"os"
	"os/exec"
	"path/filepath"
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
		usage := runChild(b, "convert", "-q", "-f", image, filepath.Join(dir, "out.zvhd2"))
		ours += time.Since(start)
		busy += usage.UserTime() + usage.SystemTime()
		peak = max(peak, peakMemory(usage))
		b.StopTimer()
		start = time.Now()
		cmd := exec.Command("qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "-m", "8", "-W", image, filepath.Join(dir, "out.qcow2"))
		out, err := cmd.CombinedOutput()
		require.NoError(b, err, "%s", out)
		theirs += time.Since(start)
		qemuBusy += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		b.StartTimer()
	}
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "times-qemu")
	b.ReportMetric(busy.Seconds()/qemuBusy.Seconds(), "of-qemu-cpu")
	b.ReportMetric(busy.Seconds()/ours.Seconds(), "cpus")
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
}

// runChild runs the command in a process of its own.
func runChild(t testing.TB, args ...string) *os.ProcessState {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return cmd.ProcessState
}

func absolute(t testing.TB, name string) string {
	t.Helper()
	name, err := filepath.Abs(name)
	require.NoError(t, err)
	return name
}
