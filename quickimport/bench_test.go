package quickimport_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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

// BenchmarkImportMemory is the peak of the heap in use while one and twenty
// imports run on one client, of disks of 64 MiB that do not compress. The memory
// of the test cloud, in the same process, is part of it.
func BenchmarkImportMemory(b *testing.B) {
	disk := noise(64 << 20)
	for _, imports := range []int{1, 20} {
		b.Run(fmt.Sprintf("imports=%d", imports), func(b *testing.B) {
			srv := imstest.NewServer(b, imstest.WithQuota(1000))
			c, err := quickimport.New(append(srv.Options(), quickimport.WithPolling(5*time.Millisecond, time.Second), quickimport.WithLimits(quickimport.Limits{Parts: 8, Encoders: 2, BufferedBytes: 128 << 20}))...)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(imports) * int64(len(disk)))
			runtime.GC()
			var before runtime.MemStats
			runtime.ReadMemStats(&before)
			done, peak := make(chan struct{}), make(chan uint64)
			go watchHeap(done, peak)
			for round := 0; b.Loop(); round++ {
				var items []quickimport.Item
				for i := range imports {
					img := dataImage(srv.Bucket())
					img.Name = fmt.Sprintf("disk-%d-%d", round, i)
					items = append(items, quickimport.Item{Source: quickimport.Disk(bytes.NewReader(disk), int64(len(disk)), quickimport.SourceInfo{}), Image: img})
				}
				outcomes, err := c.ImportAll(b.Context(), items, imports, nil)
				if err != nil {
					b.Fatal(err)
				}
				for _, o := range outcomes {
					if o.Err != nil {
						b.Fatal(o.Err)
					}
				}
			}
			close(done)
			b.ReportMetric(float64(<-peak-before.HeapInuse)/(1<<20), "peak-MiB")
		})
	}
}

// watchHeap sends the largest heap in use that it has seen until done.
func watchHeap(done <-chan struct{}, peak chan<- uint64) {
	var most uint64
	for {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapInuse)
		select {
		case <-done:
			peak <- most
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}
