package uploader_test

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

// memoryPart is the least part size with which 100 GiB fit.
const memoryPart = 11 * mib

// BenchmarkMemory is the peak of a process that uploads a sparse disk with 64
// chunks of 1 MiB of data, at the same concurrency and part size for all.
func BenchmarkMemory(b *testing.B) {
	if runtime.GOOS != "linux" {
		b.Skip("peak memory is read from /proc")
	}
	for _, kind := range []string{"readerat", "stream"} {
		for _, gib := range []int64{1, 100} {
			b.Run(fmt.Sprintf("source=%s/size=%dGiB", kind, gib), func(b *testing.B) {
				sink := httptest.NewServer(&sink{sums: map[string]string{}, parts: map[string]string{}})
				defer sink.Close()
				peak := 0
				for b.Loop() {
					peak = max(peak, memoryPeak(b, kind, sink.URL, gib<<30))
				}
				b.ReportMetric(float64(peak)/1024, "MiB-peak")
				// The documented bound, and the program itself.
				require.Less(b, peak<<10, 2*(benchConcurrency+1)*memoryPart+48*mib)
			})
		}
	}
}

func memoryPeak(b *testing.B, kind, endpoint string, size int64) (kib int) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FASTIMAGE_UPLOAD_CHILD=memory", "KIND="+kind, "ENDPOINT="+endpoint, fmt.Sprintf("SIZE=%d", size))
	out, err := cmd.CombinedOutput()
	require.NoError(b, err, "%s", out)
	_, after, found := strings.Cut(string(out), "peak ")
	require.True(b, found, "%s", out)
	_, err = fmt.Sscan(after, &kib)
	require.NoError(b, err)
	return kib
}

// memoryUpload is the child of BenchmarkMemory.
func memoryUpload() error {
	var size int64
	if _, err := fmt.Sscan(os.Getenv("SIZE"), &size); err != nil {
		return err
	}
	c, err := uploader.NewClient(uploader.WithEndpoint(os.Getenv("ENDPOINT")), uploader.WithRegion(testRegion),
		uploader.WithStaticCredentials(testAK, testSK, ""))
	if err != nil {
		return err
	}
	u, err := uploader.New(c, uploader.WithConcurrency(benchConcurrency), uploader.WithPartSize(memoryPart))
	if err != nil {
		return err
	}
	src := &scattered{step: size / 64, chunk: noise(1, mib), size: size}
	if os.Getenv("KIND") == "stream" {
		_, err = u.UploadStream(context.Background(), "images", "k", io.NewSectionReader(src, 0, size), size)
	} else {
		_, err = u.UploadReaderAt(context.Background(), "images", "k", src, size)
	}
	if err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println("peak", strings.Fields(peak)[0])
	return nil
}

// scattered is a disk with 64 chunks of data, spread evenly.
type scattered struct {
	size, step int64
	chunk      []byte
}

func (s *scattered) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), s.size-off)
	clear(p[:n])
	for pos := off / s.step * s.step; pos < off+n; pos += s.step {
		if d := pos - off; d >= 0 {
			copy(p[d:n], s.chunk)
		} else if -d < int64(len(s.chunk)) {
			copy(p[:n], s.chunk[-d:])
		}
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

func (s *scattered) NextData(off int64) (int64, int64, error) {
	start := off / s.step * s.step
	if off >= start+int64(len(s.chunk)) {
		start += s.step
	}
	if start >= s.size {
		return 0, 0, io.EOF
	}
	return max(off, start), start + int64(len(s.chunk)), nil
}

// sink is a store that keeps digests alone, for objects that no disk holds.
type sink struct {
	mu    sync.Mutex        // guards what follows
	sums  map[string]string // of whole objects
	parts map[string]string // by number
	bytes int64
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := md5.New()
	n, _ := io.Copy(h, r.Body)
	sum := hex.EncodeToString(h.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	source := r.Header.Get("X-Amz-Copy-Source")
	switch q := r.URL.Query(); {
	case q.Has("uploads"):
		clear(s.parts)
		s.bytes = 0
		_, _ = io.WriteString(w, "<R><UploadId>id</UploadId></R>")
	case source != "" && r.Header.Get("X-Amz-Copy-Source-Range") != "":
		w.WriteHeader(http.StatusNotImplemented)
	case source != "":
		sum = s.sums["/"+source]
		s.parts[q.Get("partNumber")] = sum
		s.bytes += memoryPart
		_, _ = fmt.Fprintf(w, "<R><ETag>%s</ETag></R>", sum)
	case q.Has("partNumber"):
		s.parts[q.Get("partNumber")] = sum
		s.bytes += n
		w.Header().Set("ETag", sum)
	case q.Has("uploadId"):
		s.sums[r.URL.Path] = s.whole()
		_, _ = fmt.Fprintf(w, "<R><ETag>%s</ETag></R>", s.sums[r.URL.Path])
	case r.Method == http.MethodPut:
		s.sums[r.URL.Path] = sum
		w.Header().Set("ETag", sum)
	case r.Method == http.MethodHead:
		w.Header().Set("ETag", s.sums[r.URL.Path])
		w.Header().Set("Content-Length", fmt.Sprint(s.bytes))
	}
}

// whole is the digest of digests.
func (s *sink) whole() string {
	h := md5.New()
	for i := 1; i <= len(s.parts); i++ {
		b, _ := hex.DecodeString(s.parts[fmt.Sprint(i)])
		h.Write(b)
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(s.parts))
}
