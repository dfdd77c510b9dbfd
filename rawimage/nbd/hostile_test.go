package nbd_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/nbd"
)

// script is a dialer whose server sends these bytes, whatever it gets, and then
// nothing more.
func script(bytes []byte) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		go func() { _, _ = server.Write(bytes) }()
		return client, nil
	}
}

// closing is script for a server that hangs up after that.
func closing(bytes []byte) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		go func() { _, _ = server.Write(bytes); _ = server.Close() }()
		return client, nil
	}
}

var be = binary.BigEndian

func reply(opt, kind uint32, data ...byte) []byte {
	p := be.AppendUint64(nil, 0x3e889045565a9)
	p = be.AppendUint32(p, opt)
	p = be.AppendUint32(p, kind)
	p = be.AppendUint32(p, uint32(len(data)))
	return append(p, data...)
}

func exportInfo(size uint64, flags uint16) []byte {
	p := be.AppendUint64([]byte{0, 0}, size)
	return be.AppendUint16(p, flags)
}

// hello is the first thing that a server sends.
var hello = []byte("NBDMAGICIHAVEOPT\x00\x03")

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// greeting is a whole handshake with structured replies and block status.
func greeting(size uint64, flags uint16) []byte {
	return join(hello, reply(8, 1), reply(10, 4, append([]byte{0, 0, 0, 9}, "base:allocation"...)...), reply(10, 1),
		reply(7, 3, exportInfo(size, flags)...), reply(7, 1))
}

func chunk(flags, kind uint16, cookie uint64, data ...byte) []byte {
	p := be.AppendUint32(nil, 0x668e33ef)
	p = be.AppendUint16(p, flags)
	p = be.AppendUint16(p, kind)
	p = be.AppendUint64(p, cookie)
	p = be.AppendUint32(p, uint32(len(data)))
	return append(p, data...)
}

func u64(v uint64) []byte { return be.AppendUint64(nil, v) }
func u32(v uint32) []byte { return be.AppendUint32(nil, v) }

// Whatever a server says in the handshake is an error, not a hang or a panic.
func TestHostileHandshake(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sends []byte
		is    error
	}{
		"http":            {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), nbd.ErrProtocol},
		"oldstyle":        {[]byte("NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53\x00\x00"), nbd.ErrUnsupported},
		"hangs up":        {[]byte("NBDM"), io.ErrUnexpectedEOF},
		"long reply":      {join(hello, u64(0x3e889045565a9), u32(8), u32(1), u32(1<<31)), nbd.ErrProtocol},
		"other option":    {join(hello, reply(99, 1)), nbd.ErrProtocol},
		"TLS required":    {join(hello, reply(8, 1<<31|5)), nbd.ErrTLSRequired},
		"no export":       {join(hello, reply(8, 1<<31|1), reply(7, 1<<31|6, []byte("no")...)), nbd.ErrNoExport},
		"policy":          {join(hello, reply(8, 1<<31|1), reply(7, 1<<31|2)), nbd.ErrUnsupported},
		"negative size":   {greeting(1<<63, 0), nbd.ErrProtocol},
		"empty":           {greeting(0, 0), nbd.ErrProtocol},
		"no information":  {join(hello, reply(8, 1<<31|1), reply(7, 1)), nbd.ErrProtocol},
		"short info":      {join(hello, reply(8, 1<<31|1), reply(7, 3, 0)), nbd.ErrProtocol},
		"info of 3 bytes": {join(hello, reply(8, 1<<31|1), reply(7, 3, 0, 0, 1)), nbd.ErrProtocol},
		"block size 3": {join(hello, reply(8, 1<<31|1), reply(7, 3, exportInfo(1<<20, 0)...),
			reply(7, 3, join([]byte{0, 3}, u32(3), u32(3), u32(9))...), reply(7, 1)), nbd.ErrProtocol},
		"endless information": {join(hello, reply(8, 1<<31|1), repeat(reply(7, 3, exportInfo(1<<20, 0)...), 100)), nbd.ErrProtocol},
		"endless contexts":    {join(hello, reply(8, 1), repeat(reply(10, 4, append(u32(1), "other"...)...), 100)), nbd.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := nbd.Dial(context.Background(), "nbd://server/", nbd.WithDialer(closing(c.sends)))
			require.ErrorIs(t, err, c.is)
		})
	}
}

func repeat(p []byte, n int) (all []byte) {
	for range n {
		all = append(all, p...)
	}
	return all
}

// So is whatever it says in the transmission.
func TestHostileReplies(t *testing.T) {
	t.Parallel()
	for name, sends := range map[string][]byte{
		"not a reply":        []byte("garbage garbage garbage"),
		"other cookie":       chunk(1, 0, 7),
		"too much data":      chunk(1, 1, 1, append(u64(0), make([]byte, 11)...)...),
		"too little data":    chunk(1, 1, 1, append(u64(0), make([]byte, 9)...)...),
		"before the offset":  chunk(1, 1, 1, append(u64(1<<64-8), make([]byte, 10)...)...),
		"nothing":            chunk(1, 0, 1),
		"simple":             join(u32(0x67446698), u32(0), u64(1), make([]byte, 10)),
		"huge hole":          chunk(1, 2, 1, join(u64(0), u32(1<<31))...),
		"unknown chunk":      chunk(1, 77, 1),
		"huge chunk":         join(u32(0x668e33ef), []byte{0, 1, 0, 1}, u64(1), u32(1<<32-1)),
		"status of a read":   chunk(1, 5, 1, join(u32(9), u32(512), u32(0))...),
		"huge error message": join(u32(0x668e33ef), []byte{0, 1, 0x80, 1}, u64(1), u32(1<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := dial(t, "nbd://server/", nbd.WithDialer(script(join(greeting(1<<20, 0), sends))))
			_, err := e.ReadAt(make([]byte, 10), 0)
			require.ErrorIs(t, err, nbd.ErrProtocol)
			var failed *nbd.RequestError
			require.ErrorAs(t, err, &failed)
		})
	}
	for name, sends := range map[string][]byte{
		"no extents":      chunk(1, 0, 1),
		"empty extent":    chunk(1, 5, 1, join(u32(9), u32(0), u32(0))...),
		"other context":   chunk(1, 5, 1, join(u32(8), u32(512), u32(0))...),
		"half an extent":  chunk(1, 5, 1, join(u32(9), u32(512))...),
		"data of a query": chunk(1, 1, 1, join(u64(0), make([]byte, 10))...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := dial(t, "nbd://server/", nbd.WithDialer(script(join(greeting(1<<20, 0), sends))))
			_, _, err := e.NextData(0)
			require.ErrorIs(t, err, nbd.ErrProtocol)
		})
	}
	// A stalled read is tried again, and says so in the end.
	t.Run("error with a message", func(t *testing.T) {
		t.Parallel()
		e := dial(t, "nbd://server/", nbd.WithDialer(script(join(greeting(1<<20, 0),
			chunk(1, 1<<15+1, 1, join(u32(22), []byte{0, 4}, []byte("oops"))...)))), nbd.WithStallTimeout(time.Hour))
		_, err := e.ReadAt(make([]byte, 10), 0)
		var server *nbd.ServerError
		require.ErrorAs(t, err, &server)
		require.Equal(t, "oops", server.Message)
	})
}

func FuzzTransmission(f *testing.F) {
	f.Add(chunk(1, 1, 1, append(u64(0), make([]byte, 10)...)...))
	f.Add(chunk(1, 5, 1, join(u32(9), u32(512), u32(3))...))
	f.Add(join(u32(0x67446698), u32(5), u64(1)))
	f.Fuzz(func(t *testing.T, sends []byte) {
		for _, op := range []func(*nbd.Export) error{
			func(e *nbd.Export) error { _, err := e.ReadAt(make([]byte, 10), 0); return err },
			func(e *nbd.Export) error { _, _, err := e.NextData(0); return err },
		} {
			var calls int
			e, err := nbd.Dial(context.Background(), "nbd://server/", nbd.WithConnections(1), nbd.WithDialer(func(ctx context.Context, n, a string) (net.Conn, error) {
				if calls++; calls > 1 {
					return nil, nbd.ErrUnsupported // ends the retries
				}
				return closing(join(greeting(1<<20, 0), sends))(ctx, n, a)
			}))
			require.NoError(t, err)
			_ = op(e)
			require.NoError(t, e.Close())
		}
	})
}
