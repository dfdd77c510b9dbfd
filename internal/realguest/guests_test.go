package realguest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/internal/realguest"
	"github.com/fastimage/fastimage/rawimage/guest"
)

// What an examination predicts comes true: no guest that is called ready fails to
// boot, and none that boots with a network is said to fail. The short form has one
// good guest and two that are broken; FASTIMAGE_LONG=1 has all of them.
func TestPredictions(t *testing.T) {
	realguest.Require(t)
	guests := realguest.Short()
	if os.Getenv("FASTIMAGE_LONG") == "1" {
		guests = realguest.All()
	}
	table := []string{"| guest | made to | predicted | observed |", "| --- | --- | --- | --- |"}
	for _, g := range guests {
		t.Run(g.Name, func(t *testing.T) {
			disk := realguest.Disk(t, g)
			seen := realguest.Observe(t, g, disk)
			report := predict(t, disk, g)
			table = append(table, row(g, report, seen))
			t.Logf("boots %v, network %v after %s: %s", seen.Boots, seen.Network, seen.Took, seen.Why)
			expect(t, g, seen)
			compare(t, g, report, seen)
		})
	}
	t.Logf("%d guests\n%s", len(table)-2, strings.Join(table, "\n"))
}

// expect fails the test where a guest did not do what it was made to do: then it
// proves nothing.
func expect(t *testing.T, g realguest.Guest, seen realguest.Observation) {
	t.Helper()
	require.Equal(t, !g.Dead, seen.Boots, "boots\n%s", seen.Console)
	require.Equal(t, !g.Dead && !g.Offline, seen.Network, "network\n%s", seen.Console)
}

// compare fails the test where a prediction is wrong.
func compare(t *testing.T, g realguest.Guest, r *guest.Report, seen realguest.Observation) {
	t.Helper()
	checks := failed(r)
	require.True(t, r.Examined || len(checks) > 0, r.Reason)
	switch {
	case !seen.Boots:
		require.NotEmpty(t, checks, "called ready, and does not boot: %s", seen.Why)
	case seen.Network:
		require.Empty(t, checks, "said to fail, and boots with a network")
	default:
		require.NotEmpty(t, checks, "called ready, and has no network")
	}
	if g.Fails != "" {
		require.Contains(t, checks, g.Fails)
	}
}

// row is the line of the table for one guest.
func row(g realguest.Guest, r *guest.Report, seen realguest.Observation) string {
	outcome := func(boots, network bool) string {
		switch {
		case !boots:
			return "does not boot"
		case !network:
			return "boots, no network"
		}
		return "boots"
	}
	predicted := "ready"
	if !r.Ready() {
		predicted = "FAIL " + strings.Join(failed(r), ", ")
	}
	return fmt.Sprintf("| %s | %s | %s | %s |", g.Name,
		outcome(!g.Dead, !g.Offline), predicted, outcome(seen.Boots, seen.Network))
}

// predict examines a disk for servers of a guest's firmware.
func predict(t *testing.T, disk string, g realguest.Guest) *guest.Report {
	t.Helper()
	f, size := qemutest.OpenFile(t, disk)
	r, err := guest.Examine(t.Context(), f, size, guest.WithFirmware(guest.Firmware(g.StartedBy())))
	require.NoError(t, err)
	return r
}

// failed lists the checks that failed.
func failed(r *guest.Report) (checks []string) {
	for _, f := range r.Findings {
		if f.Status == guest.StatusFail {
			checks = append(checks, f.Check)
		}
	}
	return checks
}
