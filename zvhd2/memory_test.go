package zvhd2_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/zvhd2"
)

// generated is a disk whose data is made when it is read: 128 MiB of it, spread
// over size bytes.
type generated struct {
	size, step int64
	chunk      []byte // one block
}

func newGenerated(size int64) *generated {
	g := &generated{size: size, step: size / 64, chunk: text(1, 2*mib)}
	copy(g.chunk[mib:], noise(2, mib/2))
	return g
}

func (g *generated) ReadAt(p []byte, off int64) (int, error) {
	if off%g.step+int64(len(p)) > 2*mib {
		return 0, fmt.Errorf("read of a hole at %d", off)
	}
	return copy(p, g.chunk[off%g.step:]), nil
}

func (g *generated) NextData(off int64) (int64, int64, error) {
	start := off / g.step * g.step
	if off >= start+2*mib {
		start += g.step
	}
	if start >= g.size {
		return 0, 0, io.EOF
	}
	return max(off, start), start + 2*mib, nil
}

const memoryChild = "ZVHD2_MEMORY_CHILD"

// TestMemory measures the peak of a process that encodes with two workers.
func TestMemory(t *testing.T) {
	if size := os.Getenv(memoryChild); size != "" {
		var n int64
		_, err := fmt.Sscan(size, &n)
		require.NoError(t, err)
		_, err = zvhd2.Encode(context.Background(), io.Discard, newGenerated(n), n, zvhd2.WithWorkers(2), zvhd2.WithLevel(zvhd2.LevelFastest))
		require.NoError(t, err)
		b, err := os.ReadFile("/proc/self/status")
		require.NoError(t, err)
		_, peak, _ := strings.Cut(string(b), "VmHWM:")
		fmt.Println("peak", strings.Fields(peak)[0])
		return
	}
	if runtime.GOOS != "linux" {
		t.Skip("peak memory is read from /proc")
	}
	if testing.Short() || raceEnabled {
		t.Skip("the race detector multiplies memory")
	}
	for _, size := range []int64{1 << 30, 1 << 40} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestMemory$", "-test.v")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", memoryChild, size))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		_, after, found := strings.Cut(string(out), "peak ")
		require.True(t, found, "%s", out)
		var kib int
		_, err = fmt.Sscan(after, &kib)
		require.NoError(t, err)
		t.Logf("disk of %d GiB: peak %d KiB", size>>30, kib)
		require.Less(t, kib, 96<<10)
	}
}
