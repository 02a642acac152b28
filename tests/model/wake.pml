/*
 * wake.pml - the protocol of lib/waiter.h, with store buffers and death at
 * every step
 *
 * Two queues; sleeper 1 waits for messages of both, sleeper 2 for those of the
 * second.  N_WAKERS wakers put messages and wake.  N_KILLS times somebody is
 * killed, before any access of shared memory; a recoverer, which may be killed
 * too, then wakes all.  Steps have the names of the C code, S1..S6 and K1..K5.
 *
 * A message is put by a plain store (K1), which waits in the buffer of its
 * waker until a fence, a locked instruction, or its time comes, as on x86.
 * -DASYM: K2 is no fence, and S3 empties the buffers of all (membarrier).
 *
 * A sleeper takes up to N_TAKES messages and leaves; sleeper 2 may also give
 * up while it waits.  What is checked when nobody can go on: nobody sleeps who
 * could take a message.  That no park ends by time is the point.
 *
 * -DNO_X takes safeguard X away, named as in SB_MUTATED(X) of the C code: see
 * tests/README.md.
 */
#ifndef N_WAKERS
#define N_WAKERS 2
#endif
#ifndef N_PUTS
#define N_PUTS 2 /* of each waker */
#endif
#ifndef N_TAKES
#define N_TAKES 2
#endif
#ifndef N_KILLS
#define N_KILLS 2
#endif
#define N_SLEEPERS 2
#define N_QUEUES   2

byte n[N_QUEUES];             /* messages, in memory */
byte buffered[N_WAKERS * 2 + 2]; /* ... in the wakers' buffers */
byte bits[N_QUEUES];          /* sets: bit i is sleeper i + 1 */
byte bell[N_SLEEPERS];
byte asleep, woken;           /* in the futexes; bit i is sleeper i + 1 */
byte n_dead;                  /* not recovered */
byte kills = N_KILLS;

#define STEP(x)                                              \
	if                                                   \
	:: d_step { x }                                      \
	:: atomic { kills > 0 -> kills = kills - 1; goto died } \
	fi

#define DRAIN(w)                                       \
	n[0] = n[0] + buffered[(w) * 2]; buffered[(w) * 2] = 0; \
	n[1] = n[1] + buffered[(w) * 2 + 1]; buffered[(w) * 2 + 1] = 0

/* --------------------------------------------------------------- wake side */

/* K4 and K5 for the sleeper s of set q, a locked instruction, which a waker's
 * buffer does not outlive.  -> ok: somebody was woken */
inline claim_and_ring(q, s)
{
	STEP(DRAIN(buf); ok = (bits[q] >> s & 1); /* K4 */
	     bits[q] = bits[q] & ~(1 << s));
	if
	:: ok ->
#ifndef NO_k5_bell
		STEP(bell[s] = bell[s] + 1);
#endif
#ifdef NO_k5_wake
		ok = 1
#else
		STEP(ok = ((asleep & ~woken) >> s & 1); /* futex wake */
		     woken = woken | (asleep & 1 << s))
#endif
	:: else
	fi
}

/* Wake one sleeper of set q, lowest first. */
inline wake(q)
{
	STEP(seen_bits = bits[q]); /* K3 */
	s = 0;
	do
	:: s < N_SLEEPERS && (seen_bits >> s & 1) ->
		claim_and_ring(q, s);
		if
		:: ok -> break
		:: else -> s = s + 1
		fi
	:: s < N_SLEEPERS && !(seen_bits >> s & 1) -> s = s + 1
	:: s == N_SLEEPERS -> break
	od;
	s = 0; seen_bits = 0; ok = 0
}

proctype waker(byte me)
{
	byte n_put, q, s, seen_bits, buf = me;
	bit ok;

	do
	:: n_put < N_PUTS ->
		if
		:: q = 0
		:: q = 1
		fi;
		STEP(buffered[me * 2 + q] = buffered[me * 2 + q] + 1; /* K1 */
		     n_put = n_put + 1);
#if !defined(ASYM) && !defined(NO_k2_fence)
		STEP(DRAIN(me)); /* K2 */
#endif
		wake(q);
		q = 0
	:: else -> break
	od;
	atomic { DRAIN(me); n_put = 0 };
	goto end;
died:
	atomic { DRAIN(me); n_dead = n_dead + 1; n_put = 0; q = 0; s = 0;
		 seen_bits = 0; ok = 0 };
end:
	skip
}

/* A store comes to memory when it likes. */
proctype buffer()
{
end:
	do
	:: d_step { buffered[0] ->
		buffered[0] = buffered[0] - 1; n[0] = n[0] + 1 }
	:: d_step { buffered[1] ->
		buffered[1] = buffered[1] - 1; n[1] = n[1] + 1 }
#if N_WAKERS > 1
	:: d_step { buffered[2] ->
		buffered[2] = buffered[2] - 1; n[0] = n[0] + 1 }
	:: d_step { buffered[3] ->
		buffered[3] = buffered[3] - 1; n[1] = n[1] + 1 }
#endif
	od
}

/* --------------------------------------------------------------- sleep side */

/* Whether sleeper me waits for queue q. */
#define WAITS(q) (me == 0 || (q) == 1)

/* Try queue after queue.  -> got */
inline try()
{
	got = 0;
	q = 0;
	do
	:: q < N_QUEUES ->
		if
		:: WAITS(q) ->
			STEP(if
			     :: n[q] > 0 -> n[q] = n[q] - 1; got = 1
			     :: else
			     fi)
		:: else
		fi;
		if
		:: got -> break
		:: else -> q = q + 1
		fi
	:: else -> break
	od;
	q = 0
}

proctype sleeper(byte me)
{
	byte q, seen, claims, n_takes, s, seen_bits, buf = N_WAKERS;
	bit got, ok, gives_up, hurried; /* it has a deadline */

	if
	:: true
	:: me == 1 -> hurried = 1
	fi;
	do
	:: n_takes < N_TAKES && !gives_up ->
		claims = 0;
		do
		:: true ->
#ifndef NO_s1_first
			STEP(seen = bell[me]); /* S1 */
#endif
			q = 0;
			do
			:: q < N_QUEUES ->
				if
				:: WAITS(q) -> /* S2 */
					STEP(bits[q] = bits[q] | 1 << me)
				:: else
				fi;
				q = q + 1
			:: else -> q = 0; break
			od;
#if defined(ASYM) && !defined(NO_s3_fence)
			STEP(DRAIN(0); DRAIN(N_WAKERS - 1)); /* S3 */
#endif
#ifdef NO_s4_sure
			got = 0;
#else
			try(); /* S4 */
#endif
#ifdef NO_s1_first
			STEP(seen = bell[me]);
#endif
			if
			:: !got ->
				claims = 0;
				/* S5 */
				STEP(if
				     :: bell[me] == seen ->
					asleep = asleep | 1 << me
				     :: else
				     fi);
				if
				:: atomic { !(asleep >> me & 1) ||
					    (woken >> me & 1) ->
					asleep = asleep & ~(1 << me);
					woken = woken & ~(1 << me) }
				:: atomic { hurried && (asleep >> me & 1) ->
					gives_up = 1;
					asleep = asleep & ~(1 << me);
					woken = woken & ~(1 << me) }
				fi
			:: else
			fi;
			q = 0;
			do
			:: q < N_QUEUES ->
				if
				:: WAITS(q) -> /* S6 */
					STEP(if
					     :: bits[q] >> me & 1
					     :: else -> claims = claims | 1 << q
					     fi;
					     bits[q] = bits[q] & ~(1 << me))
				:: else
				fi;
				q = q + 1
			:: else -> q = 0; break
			od;
			seen = 0;
			if
			:: got -> break
			:: else
			fi;
			try();
			if
			:: got || gives_up -> break
			:: else
			fi
		od;
#ifndef NO_s6_claims
		/* Pass on the wakes that were for others. */
		do
		:: claims & 1 ->
			claims = claims & 2;
			STEP(ok = (n[0] > 0));
			if
			:: ok -> wake(0)
			:: else
			fi
		:: !(claims & 1) && claims & 2 ->
			claims = 0;
			STEP(ok = (n[1] > 0));
			if
			:: ok -> wake(1)
			:: else
			fi
		:: !claims -> break
		od;
#endif
		n_takes = n_takes + got; got = 0; ok = 0; claims = 0
	:: else -> break
	od;
	n_takes = 0; gives_up = 0; hurried = 0;
	goto end;
died:
	atomic {
		asleep = asleep & ~(1 << me);
		woken = woken & ~(1 << me);
		n_dead = n_dead + 1;
		q = 0; seen = 0; claims = 0; n_takes = 0; s = 0; seen_bits = 0;
		got = 0; ok = 0; gives_up = 0; hurried = 0
	};
end:
	skip
}

/* --------------------------------------------------------------- recovery */

/* Not those whose bits are set: a waker may have died between K4 and K5.  The
 * bits of the dead stay: whoever claims one finds nobody, and goes on. */
proctype recoverer()
{
	byte s, n_now;

again:
	do
	:: n_dead > 0 ->
		n_now = n_dead;
#ifndef NO_death_wakes
		s = 0;
		do
		:: s < N_SLEEPERS ->
#ifdef NO_death_wakes_all
			if
			:: (bits[0] | bits[1]) >> s & 1 ->
#endif
			STEP(bell[s] = bell[s] + 1);
			STEP(woken = woken | (asleep & 1 << s));
#ifdef NO_death_wakes_all
			:: else
			fi;
#endif
			s = s + 1
		:: else -> break
		od;
#endif
		atomic { n_dead = n_dead - n_now; n_now = 0; s = 0 }
	od;
died:
	atomic { n_now = 0; s = 0 };
	goto again
}

init
{
	atomic {
		run waker(0);
#if N_WAKERS > 1
		run waker(1);
#endif
		run sleeper(0);
		run sleeper(1);
		run recoverer();
		run buffer()
	};
	timeout -> d_step {
		assert(!(asleep & 1) || (n[0] == 0 && n[1] == 0));
		assert(!(asleep & 2) || n[1] == 0);
		assert(n_dead == 0)
	}
}
