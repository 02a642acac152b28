/*
 * ring.pml - the protocol of lib/ring.c, with death at every step
 *
 * N_PROD producers put N_EACH messages each, N_CONS consumers take them, and
 * N_KILLS times somebody is killed, before any access of shared memory: a
 * producer, a consumer, or one of the N_REC recoverers.  The id of a dead one
 * is given out again when its last recoverer has left, to another one that
 * goes on with the work.  -DREQUEST: consumers answer in place, and the
 * producer collects; else they free the slot.  -DSTRICT: nobody is passed.
 *
 * Names and steps are those of the C code: each STEP is one access of shared
 * memory, and what follows from it in local variables.  Whoever has to wait
 * waits until any word has changed, which is the most that wake-ups can do;
 * they have a model of their own, wake.pml.  Left out: batches, closing,
 * attempts, the order of messages, and the hint worth_skipping() is one step.
 * tests/stress/explore_ring.c has all of these.
 *
 * What is checked: a message is taken by one at a time, nobody writes to the
 * slot of another, each message is finished once; and when nobody can go on
 * (timeout), all are finished, all dead recovered, and all slots free: nobody
 * is stuck, and the capacity is whole.  Sequentially consistent.
 *
 * -DNO_X takes safeguard X away, named as in SB_MUTATED(X) of the C code: see
 * tests/README.md.
 */
#ifndef N_PROD
#define N_PROD 2
#endif
#ifndef N_EACH
#define N_EACH 2
#endif
#ifndef N_CONS
#define N_CONS 2
#endif
#ifndef N_REC
#define N_REC 1
#endif
#ifndef N_KILLS
#define N_KILLS 2
#endif
#define N 2 /* slots */

#define N_WORKERS (N_PROD + N_CONS) /* ids 1 .. N_WORKERS; 0 is nobody */
#define N_MSGS    (N_PROD * N_EACH + N_KILLS + 1)

/* A word: position, owner, and type, kind or state. */
#define W(pos, own, kind) ((pos) << 5 | (own) << 2 | (kind))
#define POS(w)  ((w) >> 5)
#define OWN(w)  ((w) >> 2 & 7)
#define KIND(w) ((w) & 3)
#define IDX(p)  ((p) % N)

#define NORM 0
#define SKIP 1
#define PASS 2

#define FREE 0
#define FULL 1
#define TOMB 2
#define DONE 3

#define TAKEN   1
#define PENDING 2

short tail, head, seq[N], pown[N], cown[N];
byte pskip[N];
byte gen, orphans;
byte data[N];

/* What a message went through, as seen from above. */
#define UNSENT    0
#define PUBLISHED 1
#define HELD      2
#define FINISHED  3 /* freed, or answered */
#define COLLECTED 4
byte msg[N_MSGS];
byte n_msgs, n_done; /* messages; producers that are */

/* Bit i: of id i. */
byte dead, settled;
byte touched; /* a word has changed since i looked */
byte inside[N_WORKERS + 1]; /* recoverers of i */
byte kills = N_KILLS;

#define STEP(x)                                              \
	if                                                   \
	:: d_step { x }                                      \
	:: atomic { kills > 0 -> kills = kills - 1; goto died } \
	fi

#define TOUCH touched = 255
#define CAS(word, old, new)                                     \
	if                                                      \
	:: word == old -> word = new; ok = 1; TOUCH             \
	:: else -> old = word; ok = 0                           \
	fi
#define LOOK     touched = touched & ~(1 << me)
#define LOOKED   touched = touched | 1 << me
#define TOUCHED  (touched >> me & 1)

/* ------------------------------------------------------------------ help -- */

inline help_tail(word)
{
	j = POS(word) - 1;
	if
	:: KIND(word) == NORM ->
		STEP(old = pown[IDX(j)]; k = 0);
		do
		:: k < 2 && POS(old) < j ->
			STEP(CAS(pown[IDX(j)], old, W(j, OWN(word), 0)));
#ifdef NO_help_twice
			break;
#endif
			k = k + 1;
			if
			:: ok -> break
			:: else
			fi
		:: else -> break
		od
	:: KIND(word) == SKIP ->
		STEP(old = pskip[IDX(j)]; ok = (old != j));
#ifndef NO_skip_is_last
		if
		:: ok -> STEP(ok = (tail == word))
		:: else
		fi;
#endif
		if
		:: ok -> STEP(CAS(pskip[IDX(j)], old, j))
		:: else
		fi
	fi;
	old = 0; j = 0; k = 0; ok = 0
}

/* Is what tail says recorded already?  -> ok */
inline tail_recorded(word)
{
#ifdef NO_help_tail
	ok = 1
#else
	if
	:: OWN(word) == me && KIND(word) == NORM -> ok = 1
	:: else ->
		if
		:: KIND(word) != NORM -> ok = 0
		:: else -> STEP(ok = (POS(pown[IDX(POS(word) - 1)]) >=
				      POS(word) - 1))
		fi
	fi
#endif
}

inline help_head(word)
{
	j = POS(word) - 1;
	if
	:: KIND(word) != SKIP ->
		STEP(old = cown[IDX(j)]);
		if
		:: POS(old) < j && KIND(word) == NORM ->
			STEP(CAS(cown[IDX(j)], old, W(j, OWN(word), TAKEN)))
		:: POS(old) < j && KIND(word) == PASS ->
			STEP(CAS(cown[IDX(j)], old, W(j, OWN(word), PENDING)))
		:: else
		fi;
#ifndef NO_pass_gen
		if
		:: KIND(word) == PASS && helped_pass != word ->
			STEP(gen = gen + 1; TOUCH; helped_pass = word)
		:: else
		fi
#endif
	:: else
	fi;
	old = 0; j = 0; ok = 0
}

inline head_recorded(word)
{
#ifdef NO_help_head
	ok = 1
#else
	if
	:: OWN(word) == me && KIND(word) == NORM -> ok = 1
	:: else ->
		if
		:: KIND(word) != NORM -> ok = 0
		:: else -> STEP(ok = (POS(cown[IDX(POS(word) - 1)]) >=
				      POS(word) - 1))
		fi
	fi
#endif
}

/* -------------------------------------------------------------- producer -- */

/* Claim the position that tail says.  -> ok */
inline claim_one()
{
	STEP(CAS(tail, tw, W(p + 1, me, NORM)));
	if
	:: ok ->
		STEP(pown[IDX(p)] = W(p, me, 0); TOUCH);
		ok = 1
	:: else
	fi
}

/* Head hw stands at a position that was skipped: go on for the consumers.
 * -> ok */
inline step_over_skip(hw)
{
	STEP(ok = (pskip[IDX(POS(hw))] == POS(hw)));
#ifdef NO_step_over
	ok = 0;
#endif
	if
	:: ok ->
		head_recorded(hw);
		if
		:: !ok -> help_head(hw)
		:: else
		fi;
		STEP(CAS(head, hw, W(POS(hw) + 1, me, SKIP)));
		ok = 1
	:: else
	fi
}

/* Is there a free slot to be reached by skipping?  A hint, one step. */
inline worth_skipping()
{
	STEP(ok = 0; k = 0;
	     do
	     :: k < N ->
		if
		:: KIND(seq[k]) == FREE && POS(seq[k]) > POS(pown[k]) -> ok = 1
		:: else
		fi;
		k = k + 1
	     :: else -> break
	     od;
	     k = 0)
}

/* -> ok, p */
inline claim()
{
	n_skips = 0;
	do
	:: true ->
		STEP(LOOK; tw = tail; p = POS(tw));
		tail_recorded(tw);
		if
		:: !ok -> help_tail(tw)
		:: else
		fi;
		STEP(w = seq[IDX(p)]);
		if
		:: w == W(p, 0, FREE) ->
			claim_one();
			if
			:: ok -> break
			:: else -> goto again_claim
			fi
		:: else
		fi;
		STEP(hw = head);
		STEP(last = POS(pown[IDX(p)]));
#ifndef NO_full_rule
		if
		:: POS(hw) <= p - N ->
			STEP(ok = (tail == tw));
			if
			:: !ok -> goto again_claim
			:: else
			fi;
			step_over_skip(hw);
			if
			:: ok -> goto again_claim
			:: else -> break /* full */
			fi
		:: else
		fi;
#endif
		STEP(w = seq[IDX(p)]);
#ifndef NO_free_after_skip
		if
		:: w == W(last + N, 0, FREE) ->
			claim_one();
			if
			:: ok -> break
			:: else -> goto again_claim
			fi
		:: else
		fi;
#endif
		STEP(ok = (tail == tw));
		if
		:: !ok -> goto again_claim
		:: else
		fi;
		n_skips = n_skips + 1;
		worth_skipping();
		if
		:: n_skips > N || !ok -> ok = 0; break
		:: else
		fi;
		STEP(CAS(tail, tw, W(p + 1, me, SKIP)));
		if
		:: ok ->
			tw = W(p + 1, me, SKIP);
			help_tail(tw)
		:: else
		fi;
again_claim:
		hw = 0; last = 0; w = 0; ok = 0
	od;
	hw = 0; last = 0; w = 0; tw = 0; n_skips = 0
}

proctype producer(byte me)
{
	short tw, hw, w, old, helped_pass;
	byte p, j, k, last, n_skips, n_put, m;
	bit ok;

again:
	do
	:: n_put < N_EACH ->
		claim();
		if
		:: !ok -> TOUCHED
		:: else ->
			d_step { LOOKED; ok = 0 };
			STEP(n_msgs = n_msgs + 1; m = n_msgs; n_put = n_put + 1;
			     data[IDX(p)] = m);
			STEP(assert(data[IDX(p)] == m);
			     seq[IDX(p)] = W(p, 0, FULL); msg[m] = PUBLISHED;
			     TOUCH);
#ifdef REQUEST
			STEP(skip); /* may be killed while it waits */
			seq[IDX(p)] == W(p, 0, DONE);
			STEP(assert(data[IDX(p)] == m && msg[m] == FINISHED);
			     msg[m] = COLLECTED;
			     seq[IDX(p)] = W(p + N, 0, FREE); TOUCH);
#endif
			m = 0
		fi;
		p = 0
	:: else -> break
	od;
	n_done = n_done + 1;
	goto end;
died:
	atomic {
		tw = 0; hw = 0; w = 0; old = 0; helped_pass = 0;
		p = 0; j = 0; k = 0; last = 0; n_skips = 0; m = 0; ok = 0;
		LOOKED;
		dead = dead | 1 << me
	};
	!(dead >> me & 1) -> goto again;
end:
	skip
}

/* -------------------------------------------------------------- consumer -- */

/* The message of slot i becomes ours. */
#define HOLD(i)                                 \
	m = data[i];                            \
	assert(m && msg[m] == PUBLISHED);       \
	msg[m] = HELD

/* CAS of the pending word w to ours; its message is held if it has one. */
#ifdef NO_pending_cas
#define TAKE_PENDING(w, with)                                           \
	cown[IDX(POS(w))] = W(POS(w), me, TAKEN); ok = 1; TOUCH; with
#else
#define TAKE_PENDING(w, with)                                           \
	if                                                              \
	:: cown[IDX(POS(w))] == w ->                                    \
		cown[IDX(POS(w))] = W(POS(w), me, TAKEN); ok = 1; TOUCH; \
		with                                                    \
	:: else -> ok = 0                                               \
	fi
#endif

/* -> found, p */
inline scan()
{
	found = 0;
#ifdef NO_gen_first
	STEP(unresolved = 0);
#else
	STEP(seen = gen; unresolved = 0);
#endif
	j = 0;
	do
	:: j < N && !found ->
		STEP(old = cown[j]);
		if
		:: KIND(old) == PENDING ->
			STEP(w = seq[j]);
			if
			:: w == W(POS(old), 0, TOMB) ->
				STEP(TAKE_PENDING(old, skip));
				if
				:: ok -> STEP(seq[j] = W(POS(old) + N, 0, FREE);
					      TOUCH)
				:: else
				fi
			:: w == W(POS(old), 0, FULL) ->
				STEP(TAKE_PENDING(old, HOLD(j)));
				if
				:: ok -> found = 1; p = POS(old);
					unresolved = 1 /* there may be more */
				:: else -> unresolved = 1
				fi
			:: else -> unresolved = 1
			fi
		:: else
		fi;
		j = j + 1
	:: else -> break
	od;
#ifdef NO_gen_first
	STEP(seen = gen);
#endif
	j = 0; old = 0; w = 0; ok = 0
}

/* -> found, p */
inline take()
{
	found = 0;
	do
	:: true ->
		STEP(LOOK; hw = head; h = POS(hw));
		head_recorded(hw);
		if
		:: !ok -> help_head(hw)
		:: else
		fi;
		STEP(w = seq[IDX(h)]);
		w0 = w;
		STEP(ok = (gen != seen));
		if
		:: ok || unresolved ->
			scan();
			if
			:: found -> break
			:: else
			fi
		:: else
		fi;
		w = w0;
		if
		:: w == W(h, 0, FULL) ->
			STEP(if
			     :: head == hw ->
				head = W(h + 1, me, NORM); TOUCH; ok = 1;
				HOLD(IDX(h))
			     :: else -> ok = 0
			     fi);
			if
			:: ok ->
				STEP(cown[IDX(h)] = W(h, me, TAKEN); TOUCH);
				p = h;
				found = 1;
				break
			:: else -> goto again_take
			fi
		:: w == W(h, 0, TOMB) ->
			STEP(CAS(head, hw, W(h + 1, me, NORM)));
			if
			:: ok ->
				STEP(cown[IDX(h)] = W(h, me, TAKEN); TOUCH);
				STEP(seq[IDX(h)] = W(h + N, 0, FREE); TOUCH)
			:: else
			fi;
			goto again_take
		:: else
		fi;
		STEP(tw = tail);
		if
		:: POS(tw) <= h -> break /* empty */
		:: else
		fi;
		help_tail(tw);
		STEP(ok = (pskip[IDX(h)] == h));
		if
		:: ok ->
			STEP(CAS(head, hw, W(h + 1, me, SKIP)));
			goto again_take
		:: else
		fi;
		STEP(ok = (head == hw));
		if
		:: !ok -> goto again_take
		:: else
		fi;
		if
		:: break /* not out of patience yet */
#ifndef STRICT
		:: true ->
			STEP(CAS(head, hw, W(h + 1, me, PASS)));
			if
			:: ok ->
				hw = W(h + 1, me, PASS);
				help_head(hw)
			:: else
			fi
#endif
		fi;
again_take:
		hw = 0; h = 0; w = 0; w0 = 0; tw = 0; ok = 0
	od;
	hw = 0; h = 0; w = 0; w0 = 0; tw = 0; ok = 0
}

proctype consumer(byte me)
{
	short tw, hw, w, w0, old, helped_pass;
	byte p, h, j, k, m, seen;
	bit ok, found, unresolved;

	/* First look for what is pending. */
again:
	seen = 255;
	do
	:: true ->
		take();
		if
		:: !found -> TOUCHED
		:: else ->
			d_step { LOOKED; found = 0 };
			STEP(assert(data[IDX(p)] == m && msg[m] == HELD));
#ifdef REQUEST
			STEP(seq[IDX(p)] = W(p, 0, DONE); msg[m] = FINISHED;
			     m = 0; TOUCH);
#ifndef NO_answer_orphan
			STEP(ok = (orphans != 0));
			if
			:: ok ->
				STEP(ok = (pown[IDX(p)] == W(p, 0, 0)));
				w = W(p, 0, DONE);
				if
				:: ok -> STEP(CAS(seq[IDX(p)], w,
						  W(p + N, 0, FREE)))
				:: else
				fi;
				w = 0
			:: else
			fi;
#endif
			ok = 0;
#else
			STEP(seq[IDX(p)] = W(p + N, 0, FREE);
			     msg[m] = FINISHED; m = 0; TOUCH);
#endif
			p = 0
		fi
	od;
died:
	atomic {
		if
		:: m -> msg[m] = PUBLISHED
		:: else
		fi;
		tw = 0; hw = 0; w = 0; w0 = 0; old = 0; helped_pass = 0;
		p = 0; h = 0; j = 0; k = 0; m = 0; seen = 0;
		ok = 0; found = 0; unresolved = 0;
		LOOKED;
		dead = dead | 1 << me
	};
	!(dead >> me & 1) -> goto again
}

/* -------------------------------------------------------------- recovery -- */

inline recover()
{
	STEP(tw = tail); /* R1 */
#ifndef NO_r1_tail
	help_tail(tw);
#endif
	STEP(hw = head);
#ifndef NO_r1_head
	help_head(hw);
#endif
	tw = 0; hw = 0; helped_pass = 0;
#ifdef REQUEST
	STEP(orphans = 1; TOUCH);
#endif
	i = 0;
	do
	:: i < N ->
#ifndef NO_r2
		STEP(old = pown[i]);
		if
		:: OWN(old) == x ->
			STEP(w = seq[i]);
			if
#ifdef NO_r2_older
			:: w == W(POS(old), 0, FREE) ->
#else
			:: KIND(w) == FREE && POS(w) <= POS(old) ->
#endif
#ifdef NO_r2_cas
				STEP(seq[i] = W(POS(old), 0, TOMB); TOUCH)
#else
				STEP(CAS(seq[i], w, W(POS(old), 0, TOMB)))
#endif
			:: else
			fi
		:: else
		fi;
#endif
#ifndef NO_r3
		STEP(old = cown[i]);
		if
		:: KIND(old) == TAKEN && OWN(old) == x ->
			STEP(w = seq[i]);
			if
			:: w == W(POS(old), 0, FULL) || w == W(POS(old), 0, TOMB) ->
#ifdef NO_r3_cas
				STEP(cown[i] = W(POS(old), x, PENDING); TOUCH)
#else
				STEP(CAS(cown[i], old, W(POS(old), x, PENDING)))
#endif
			:: else
			fi
		:: else
		fi;
#endif
#if defined(REQUEST) && !defined(NO_r4)
		STEP(old = pown[i]);
		if
		:: OWN(old) == x -> STEP(CAS(pown[i], old, W(POS(old), 0, 0)))
		:: else
		fi;
#endif
		old = 0; w = 0; ok = 0;
		i = i + 1
	:: else -> break
	od;
	i = 0;
#if defined(REQUEST) && !defined(NO_r5)
	do
	:: i < N ->
		STEP(old = pown[i]);
		if
		:: OWN(old) == 0 ->
			STEP(w = seq[i]);
			if
			:: w == W(POS(old), 0, DONE) ->
				STEP(CAS(seq[i], w, W(POS(old) + N, 0, FREE)))
			:: else
			fi
		:: else
		fi;
		old = 0; w = 0; ok = 0;
		i = i + 1
	:: else -> break
	od;
	i = 0;
#endif
#ifndef NO_r6
	STEP(gen = gen + 1; TOUCH) /* R6 */
#endif
}

/* The last recoverer of x has left: its id may be used again. */
inline leave()
{
	inside[x] = inside[x] - 1;
	if
#ifdef NO_id_waits
	:: settled >> x & 1 ->
#else
	:: (settled >> x & 1) && inside[x] == 0 ->
#endif
		settled = settled & ~(1 << x);
		dead = dead & ~(1 << x)
	:: else
	fi;
	x = 0
}

proctype recoverer()
{
	short tw, hw, w, old, helped_pass;
	byte x, i, j, k;
	bit ok;

again:
	do
	:: atomic {
		dead & ~settled ->
		if
		:: dead & ~settled & 1 << 1 -> x = 1
		:: dead & ~settled & 1 << 2 -> x = 2
		:: dead & ~settled & 1 << 3 -> x = 3
		:: dead & ~settled & 1 << 4 -> x = 4
		fi;
		inside[x] = inside[x] + 1
	   }
		recover();
		d_step {
			settled = settled | 1 << x;
			leave();
			TOUCH
		}
	od;
died:
	atomic {
		tw = 0; hw = 0; w = 0; old = 0; helped_pass = 0;
		i = 0; j = 0; k = 0; ok = 0;
		leave()
	};
	goto again
}

/* ----------------------------------------------------------------- all -- */

init
{
	byte i;

	d_step {
		tail = W(N, 0, NORM);
		head = W(N, 0, NORM);
		do
		:: i < N ->
			seq[i] = W(N + i, 0, FREE);
			pown[i] = W(i, 0, 0);
			cown[i] = W(i, 0, 0);
			pskip[i] = i;
			i = i + 1
		:: else -> break
		od;
		gen = 1;
		i = 0
	};
	atomic {
		do
		:: i < N_WORKERS + N_REC ->
			i = i + 1;
			if
			:: i <= N_PROD -> run producer(i)
			:: i > N_PROD && i <= N_WORKERS -> run consumer(i)
			:: else -> run recoverer()
			fi
		:: else -> break
		od;
		i = 0
	};
	timeout -> d_step {
		assert(n_done == N_PROD && dead == 0);
		assert(POS(head) == POS(tail));
		do
		:: i < N ->
			assert(KIND(seq[i]) == FREE);
			assert(POS(seq[i]) > POS(pown[i]));
			i = i + 1
		:: else -> break
		od;
		i = 1;
		do
		:: i <= n_msgs ->
			/* Unsent: its producer was killed before. */
			assert(msg[i] == UNSENT || msg[i] >= FINISHED);
			i = i + 1
		:: else -> break
		od;
		i = 0
	}
}
