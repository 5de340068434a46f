// Prints facts: what came through net/http and net, and how connections ended.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

func fact(name string, value ...interface{}) {
	fmt.Printf("%s\t%s", name, fmt.Sprintln(value...))
}

func data(size int, seed int64) []byte {
	out := make([]byte, size)
	rand.New(rand.NewSource(seed)).Read(out)
	return out
}

func sum(content []byte) string {
	return fmt.Sprintf("%x", sha256.Sum256(content))[:16]
}

func must(err error) {
	if err != nil {
		fact("fails", err)
		os.Exit(1)
	}
}

func overHTTP() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(body)
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < 2000; i++ {
			_, _ = w.Write(data(1000, int64(i)))
			w.(http.Flusher).Flush()
		}
	})
	go func() { _ = http.Serve(listener, mux) }()
	base := "http://" + listener.Addr().String()
	var wait sync.WaitGroup
	wrong := make([]int, 4)
	for number := range wrong {
		wait.Add(1)
		go func(number int) {
			defer wait.Done()
			client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
			for step := 0; step < 6000; step++ {
				size := 1 + step%900
				if step%1000 == 999 {
					size = 3000000
				}
				sent := data(size, int64(step))
				answer, err := client.Post(base+"/echo", "x/y", bytes.NewReader(sent))
				if err != nil {
					fact("post fails", err)
					return
				}
				got, _ := io.ReadAll(answer.Body)
				_ = answer.Body.Close()
				if !bytes.Equal(sent, got) {
					wrong[number]++
				}
			}
		}(number)
	}
	wait.Wait()
	fact("http echo, wrong", wrong)
	answer, err := http.Get(base + "/stream")
	must(err)
	got, err := io.ReadAll(answer.Body)
	fact("http stream", sum(got), err)
}

func overNet() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() {
		for {
			link, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(link, link) // splice(2) where the runtime can
				_ = link.(*net.TCPConn).CloseWrite()
				_ = link.Close()
			}()
		}
	}()
	dial := func() *net.TCPConn {
		link, err := net.Dial("tcp", listener.Addr().String())
		must(err)
		return link.(*net.TCPConn)
	}
	link := dial()
	wrong := 0
	for step := 0; step < 8000; step++ {
		sent := data(1+step%2000, int64(step))
		_, err = link.Write(sent)
		must(err)
		got := make([]byte, len(sent))
		_, err = io.ReadFull(link, got)
		must(err)
		if !bytes.Equal(sent, got) {
			wrong++
		}
	}
	must(link.CloseWrite())
	rest, err := io.ReadAll(link)
	fact("net echo", wrong, "wrong, rest", len(rest), err)

	// One goroutine writes while another reads.
	link = dial()
	whole := data(20000000, 5)
	go func() {
		_, _ = link.Write(whole)
		_ = link.CloseWrite()
	}()
	rest, err = io.ReadAll(link)
	fact("net both ways", sum(rest) == sum(whole), err)

	// A deadline in the middle of a conversation.
	link = dial()
	small := make([]byte, 10)
	for step := 0; step < 3000; step++ {
		_, err = link.Write(small)
		must(err)
		_, err = io.ReadFull(link, small)
		must(err)
	}
	_ = link.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, err = link.Read(small)
	var late net.Error
	fact("net deadline", errors.As(err, &late) && late.Timeout())
	_ = link.SetReadDeadline(time.Time{})
	_, err = link.Write(small)
	must(err)
	count, err := io.ReadFull(link, small)
	fact("net after the deadline", count, err)
	// Closing ends a read that waits.
	ended := make(chan error)
	go func() { _, err := link.Read(small); ended <- err }()
	time.Sleep(100 * time.Millisecond)
	_ = link.Close()
	fact("net close while reading", errors.Is(<-ended, net.ErrClosed))
}

func proxy() {
	// io.Copy between two TCP connections uses splice(2).
	back, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	front, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	go func() {
		for {
			link, err := back.Accept()
			if err != nil {
				return
			}
			go func() {
				buffer := make([]byte, 32768)
				for {
					n, err := link.Read(buffer)
					if err != nil {
						_ = link.Close()
						return
					}
					_, _ = link.Write(buffer[:n])
				}
			}()
		}
	}()
	go func() {
		for {
			one, err := front.Accept()
			if err != nil {
				return
			}
			two, err := net.Dial("tcp", back.Addr().String())
			must(err)
			pass := func(to, from *net.TCPConn) {
				_, _ = io.Copy(to, from)
				_ = to.CloseWrite()
			}
			go pass(one.(*net.TCPConn), two.(*net.TCPConn))
			go pass(two.(*net.TCPConn), one.(*net.TCPConn))
		}
	}()
	var wait sync.WaitGroup
	wrong := make([]int, 4)
	for number := range wrong {
		wait.Add(1)
		go func(number int) {
			defer wait.Done()
			link, err := net.Dial("tcp", front.Addr().String())
			must(err)
			for step := 0; step < 3000; step++ {
				size := 1 + step%1000
				if step%500 == 499 {
					size = 500000
				}
				sent := data(size, int64(step))
				go func() { _, _ = link.Write(sent) }()
				got := make([]byte, size)
				_, err = io.ReadFull(link, got)
				must(err)
				if !bytes.Equal(sent, got) {
					wrong[number]++
				}
			}
			_ = link.Close()
		}(number)
	}
	wait.Wait()
	fact("proxy by splice, wrong", wrong)
}

func main() {
	overHTTP()
	overNet()
	proxy()
}
