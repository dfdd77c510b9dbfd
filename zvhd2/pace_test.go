package zvhd2

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The level follows the bottleneck: down while the output waits for blocks, up
// while it is busy, and not at all where both keep up.
func TestPace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		wait, busy time.Duration
		want       Level
	}{
		{"output waits", 90, 10, LevelFastest},
		{"output is busy", 5, 95, LevelBetter},
		{"both keep up", 20, 80, LevelDefault},
		{"no time at all", 0, 0, LevelBetter},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &pace{delay: 5}
			p.level.Store(int64(LevelDefault))
			last := LevelDefault
			for range 100 {
				p.observe(c.wait*time.Millisecond, c.busy*time.Millisecond)
				level := Level(p.level.Load())
				require.LessOrEqual(t, max(level-last, last-level), Level(1), "a step at a time")
				last = level
			}
			require.Equal(t, c.want, last)
		})
	}
	p := &pace{delay: 50}
	p.level.Store(int64(LevelBetter))
	for range 50 {
		p.observe(time.Second, 0)
	}
	require.EqualValues(t, LevelDefault, p.level.Load(), "a step has to show before the next")
}
