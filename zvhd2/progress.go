package zvhd2

import (
	"sync"
	"sync/atomic"
	"time"
)

// Progress says how far a function has come.
type Progress struct {
	Done    int64 // bytes of the disk processed
	Total   int64 // bytes of the disk
	Data    int64 // of Done, bytes in stored blocks
	Skipped int64 // of Done, bytes in holes and zero blocks
	Written int64 // bytes written to the output
}

// meter counts; a goroutine of its own reports. Abandoned goroutines may still count after it has stopped.
type meter struct {
	data, skipped, written atomic.Int64
	total                  atomic.Int64
	stop                   func()
}

// startMeter starts reporting to f, which may be nil. The caller calls stop,
// which makes the final report.
func startMeter(total int64, f func(Progress)) *meter {
	m := &meter{stop: func() {}}
	m.total.Store(total)
	if f == nil {
		return m
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f(m.snapshot())
			case <-quit:
				f(m.snapshot())
				return
			}
		}
	})
	m.stop = func() { close(quit); wg.Wait() }
	return m
}

func (m *meter) snapshot() Progress {
	p := Progress{Total: m.total.Load(), Data: m.data.Load(), Skipped: m.skipped.Load(), Written: m.written.Load()}
	p.Done = min(p.Data+p.Skipped, p.Total)
	return p
}
