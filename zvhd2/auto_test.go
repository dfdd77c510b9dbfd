package zvhd2_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/zvhd2"
)

// slow takes its time with each write.
type slow time.Duration

func (s slow) Write(p []byte) (int, error) {
	time.Sleep(time.Duration(s))
	return len(p), nil
}

func TestAutoFollowsTheBottleneck(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes what is the bottleneck")
	}
	img := bytes.Repeat(text(1, 2*mib), 32)
	levels := func(w slow) zvhd2.LevelCounts {
		sum, err := zvhd2.Encode(context.Background(), w, bytes.NewReader(img), int64(len(img)), zvhd2.WithLevel(zvhd2.LevelAuto), zvhd2.WithWorkers(2))
		require.NoError(t, err)
		l := sum.Levels
		require.EqualValues(t, 32, l.Fastest+l.Default+l.Better)
		return l
	}
	l := levels(slow(200 * time.Millisecond)) // several times what a block takes at any level, on a busy machine too
	require.Greater(t, l.Better, l.Fastest, "%+v", l)
	l = levels(0)
	require.Greater(t, l.Fastest, l.Better, "%+v", l)
}
