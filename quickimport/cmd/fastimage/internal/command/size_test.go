package command

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
)

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		0: "0B", 512: "512B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 64 << 20: "64MiB",
		1<<30 - 1: "1GiB", 40 << 30: "40GiB", 1 << 40: "1TiB", 1<<63 - 1: "8192PiB",
	} {
		require.Equal(t, want, size(n), n)
	}
}

func TestParseSize(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{
		"40GiB": 40 << 30, "40gib": 40 << 30, "40G": 40 << 30, "40GB": 40 << 30,
		"1.5TiB": 3 << 39, "512MiB": 512 << 20, "1024 KiB": 1 << 20, "7B": 7, "67108864B": 64 << 20,
	} {
		got, err := parseSize(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "GiB", "-1GiB", "1iB", "1XiB", "NaN", "NaNB", "InfB", "1e400B", "99999999999TiB", "40GiBG", "0x10B x"} {
		_, err := parseSize(s)
		require.Error(t, err, s)
	}
	_, err := parseSize("40")
	require.EqualError(t, err, `"40" has no unit; write 40GiB, 40MiB or 40B`)
}

func TestLines(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Unix(0, 0)
	l := newLines(&out, plainEvery, func() time.Time { return now })
	for i := range 10 {
		now = now.Add(time.Second)
		l.show(step{phase: "upload", done: int64(i) << 20, total: 10 << 20, skipped: 1 << 20})
	}
	l.show(step{phase: "job", percent: 30})
	l.show(step{phase: "job", percent: 100})
	l.finish()
	l.finish()
	require.Equal(t, strings.TrimLeft(`
upload: 30%, 3MiB of 10MiB, 1MiB/s, 7s left, 1MiB skipped
upload: 60%, 6MiB of 10MiB, 1MiB/s, 4s left, 1MiB skipped
upload: 90%, 9MiB of 10MiB, 1MiB/s, 1s left, 1MiB skipped
job: 100%
`, "\n"), out.String())
}

// An upload that goes on ends at 100%, and one of unknown size has no percentage.
func TestUploadLines(t *testing.T) {
	t.Parallel()
	e := quickimport.Progress{Phase: quickimport.PhaseUpload, Done: 9, Total: 9, Object: 100 << 20, Sent: 40 << 20, Resumed: 60 << 20}
	require.Equal(t, "upload: 100%, 100MiB of 100MiB", objectStep(e).line(0))
	require.Equal(t, "upload: 5MiB, 5MiB sent", step{phase: "upload", done: 5 << 20, total: -1, sent: 5 << 20}.line(0))
}
