package quickimport_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// BenchmarkImport is a whole import into the test cloud (conversion, upload,
// the service's check of every block) beside what users begin with today:
// qemu-img's conversion to a compressed file alone. The image is that of
// FASTIMAGE_BENCH_IMAGE, else the small disk of testdata.
func BenchmarkImport(b *testing.B) {
	image := realDisk
	if name := os.Getenv("FASTIMAGE_BENCH_IMAGE"); name != "" {
		image = name
	}
	info, err := os.Stat(image)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("tool=fastimage", func(b *testing.B) {
		b.SetBytes(info.Size())
		srv := imstest.NewServer(b)
		c, err := quickimport.New(append(srv.Options(), quickimport.WithPolling(5*time.Millisecond, time.Second))...)
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; b.Loop(); i++ {
			img := demo(srv.Bucket())
			img.Name = fmt.Sprint("demo ", i)
			res, err := c.Import(b.Context(), quickimport.File(image), img)
			if err != nil {
				b.Fatal(err)
			}
			for _, p := range res.Phases {
				b.ReportMetric(p.Seconds, string(p.Name)+"-s")
			}
		}
	})
	b.Run("tool=qemu-img", func(b *testing.B) {
		if _, err := exec.LookPath("qemu-img"); err != nil {
			b.Skip("qemu-img is not installed")
		}
		b.SetBytes(info.Size())
		for b.Loop() {
			out := filepath.Join(b.TempDir(), "out.qcow2")
			if msg, err := exec.Command("qemu-img", "convert", "-f", "raw", "-c", "-O", "qcow2", "-o", "compression_type=zstd", image, out).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, msg)
			}
		}
	})
}
