// Writes the input of the tests in golang.rs: frames, compressed by nsqd's encoders and flushed
// after each frame, as nsqd does.
//
//	go run .
package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"log"
	"os"

	"github.com/golang/snappy"
)

func frame(kind uint32, data []byte) []byte {
	framed := make([]byte, 8, 8+len(data))
	binary.BigEndian.PutUint32(framed, uint32(4+len(data)))
	binary.BigEndian.PutUint32(framed[4:], kind)
	return append(framed, data...)
}

func message(id string, body []byte) []byte {
	head := make([]byte, 10, 26)
	binary.BigEndian.PutUint64(head, 1700000000000000000)
	binary.BigEndian.PutUint16(head[8:], 1)
	return frame(2, append(append(head, id...), body...))
}

func main() {
	noise, state := make([]byte, 700), uint32(7)
	for i := range noise {
		state = state*1664525 + 1013904223
		noise[i] = byte(state >> 24)
	}
	order := []byte(`{"order":4150,"items":[{"sku":"a-1","count":2},{"sku":"b-2","count":2}]}`)
	frames := [][]byte{
		frame(0, []byte("OK")),
		frame(0, []byte("_heartbeat_")),
		frame(0, []byte("_heartbeat_")),
		message("0123456789abcdef", bytes.Repeat(order, 20)),
		message("0123456789abcdf0", noise),
		message("0123456789abcdf1", make([]byte, 150000)),
		frame(1, []byte("E_BAD_TOPIC PUB topic name \"a b\" is not valid")),
		message("0123456789abcdf2", nil),
		frame(0, []byte("OK")),
	}

	var plain, snapped, deflated, ends bytes.Buffer
	snapper := snappy.NewWriter(&snapped)
	deflater, err := flate.NewWriter(&deflated, 6)
	check(err)
	for _, frame := range frames {
		plain.Write(frame)
		_, err = snapper.Write(frame)
		check(err)
		_, err = deflater.Write(frame)
		check(err)
		check(deflater.Flush())
		fmt.Fprintln(&ends, plain.Len(), snapped.Len(), deflated.Len())
	}
	for name, buffer := range map[string]*bytes.Buffer{
		"snappy.bin": &snapped, "deflate.bin": &deflated, "ends.txt": &ends,
	} {
		check(os.WriteFile(name, buffer.Bytes(), 0o644))
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
