package command

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchImage is the image of FASTIMAGE_BENCH_IMAGE, else a disk of 1 GiB: a
// quarter text-like, an eighth noise, the rest zeros, and no holes.
func benchImage(b *testing.B) string {
	if name := os.Getenv("FASTIMAGE_BENCH_IMAGE"); name != "" {
		return name
	}
	name := filepath.Join(b.TempDir(), "disk.raw")
	f, err := os.Create(name)
	require.NoError(b, err)
	defer f.Close()
	rng := rand.NewChaCha8([32]byte{1})
	words := strings.Fields("import usr share lib config the of and error return file version static const char 0x7f root device mount")
	block := make([]byte, 1<<20)
	for i := range 1 << 10 {
		switch clear(block); {
		case i%8 < 2:
			var text bytes.Buffer
			for text.Len() < len(block) {
				text.WriteString(words[rng.Uint64()%uint64(len(words))])
				text.WriteByte(byte(' ' + rng.Uint64()%64))
			}
			copy(block, text.Bytes())
		case i%8 == 2:
			_, _ = rng.Read(block) // never fails
		}
		_, err := f.Write(block)
		require.NoError(b, err)
	}
	return name
}

// cost is what a program took: wall time, and its peak of memory.
type cost struct {
	wall time.Duration
	rss  int64 // bytes
}

func (c *cost) run(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	began := time.Now()
	c.rss = max(c.rss, measured(b, cmd))
	c.wall += time.Since(began)
}

// built is the command as its users have it.
func built(b *testing.B) string {
	b.Helper()
	name := filepath.Join(b.TempDir(), "fastimage")
	out, err := exec.Command("go", "build", "-o", name, "../..").CombinedOutput()
	require.NoError(b, err, "%s", out)
	return name
}

// benchServe runs the test cloud in a process of its own.
func benchServe(b *testing.B, command string) (env []string, stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, command, "serve", "--quiet", "--listen", "127.0.0.1:0", "--dir", b.TempDir())
	r, w, err := os.Pipe()
	require.NoError(b, err)
	cmd.Stdout = w
	require.NoError(b, cmd.Start())
	require.NoError(b, w.Close())
	text := make([]byte, 0, 4096)
	for bytes.Count(text, []byte("\n")) < 8 {
		n, err := r.Read(text[len(text):cap(text)])
		require.NoError(b, err)
		text = text[:len(text)+n]
	}
	for line := range strings.Lines(string(text)) {
		env = append(env, strings.ReplaceAll(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "'", ""))
	}
	return env, func() { cancel(); _ = cmd.Wait(); r.Close() }
}

// BenchmarkImport is an import by the built command into 'fastimage serve',
// the job with its check of every block included, beside the users' way to the
// same server in the same run: qemu-img to a compressed QCOW2, then s3cmd put.
// "ratio" is how many times faster the import is.
func BenchmarkImport(b *testing.B) {
	qemu, err := exec.LookPath("qemu-img")
	if err != nil {
		b.Skip("qemu-img is not installed")
	}
	s3cmd, err := exec.LookPath("s3cmd")
	if err != nil {
		b.Skip("s3cmd is not installed")
	}
	image, command := benchImage(b), built(b)
	info, err := os.Stat(image)
	require.NoError(b, err)
	env, stop := benchServe(b, command)
	defer stop()
	get := func(name string) string {
		for _, e := range env {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v
			}
		}
		return ""
	}
	host := strings.TrimPrefix(get("FASTIMAGE_OBS_ENDPOINT"), "http://")
	b.SetBytes(info.Size())
	var ours, convert, put cost
	for b.Loop() {
		dir := b.TempDir()
		cmd := exec.Command(command, "import", "--quiet", "--no-resume", "--overwrite", "--name", "bench-"+time.Now().Format("150405.000000"), "--os-version", "x", image)
		cmd.Env = append(os.Environ(), env...)
		ours.run(b, cmd)
		packed := filepath.Join(dir, "disk.qcow2")
		convert.run(b, exec.Command(qemu, "convert", "-f", "raw", "-c", "-O", "qcow2", image, packed))
		put.run(b, exec.Command(s3cmd, "--config=/dev/null", "--access_key="+get("HUAWEICLOUD_SDK_AK"), "--secret_key="+get("HUAWEICLOUD_SDK_SK"),
			"--host="+host, "--host-bucket="+host, "--region="+get("HW_REGION_NAME"), "--no-ssl", "--no-progress", "--no-mime-magic", "put", packed, "s3://images/users-way.qcow2"))
		require.NoError(b, os.Remove(packed))
	}
	n := float64(b.N)
	b.ReportMetric((convert.wall+put.wall).Seconds()/ours.wall.Seconds(), "ratio")
	b.ReportMetric(ours.wall.Seconds()/n, "fastimage-s")
	b.ReportMetric(convert.wall.Seconds()/n, "qemu-img-s")
	b.ReportMetric(put.wall.Seconds()/n, "s3cmd-s")
	reportPeak(b, ours.rss, "fastimage-MiB")
	reportPeak(b, convert.rss, "qemu-img-MiB")
	reportPeak(b, put.rss, "s3cmd-MiB")
}
